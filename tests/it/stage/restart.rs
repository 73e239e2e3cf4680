//! A daemon that ends, and another one in its place.

use std::{net::Ipv4Addr, sync::Arc};

use slotd::config::Config;
use tokio::task::spawn_blocking;

use super::{Node, Stage, eventually};

/// How a daemon ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// As by SIGTERM.
    Order,
    /// Everything stops where it is, as by a loss of power: no task comes to its end.
    Crash,
}

impl Stage {
    /// Ends the first daemon and starts another one at the same address and on the same database, with changed settings.
    pub(crate) async fn restart(&mut self, ending: Ending, settings: impl FnOnce(&mut Config)) {
        let node = self.nodes.remove(0);
        let port = node.daemon.api.port();
        match ending {
            Ending::Order => spawn_blocking(move || node.stop()).await.unwrap(),
            Ending::Crash => node.runtime.shutdown_background(),
        }
        settings(&mut self.config);
        let listener = eventually("the port is free again", async || {
            tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.ok()
        })
        .await;
        let master = Arc::clone(&self.db.master());
        let node = Node::start_on(listener.into_std().unwrap(), self.config.clone(), master).await;
        self.nodes.insert(0, node);
    }
}
