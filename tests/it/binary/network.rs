//! The network between slotd and Google: it loses, cuts and delays what passes, when the weather is bad.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

#[derive(Default)]
struct Weather {
    bad: AtomicBool,
    /// Connections that were cut.
    cuts: AtomicUsize,
}

pub(crate) struct Network {
    /// `http://127.0.0.1:PORT`, for whatever is behind it.
    pub(crate) root: String,
    weather: Arc<Weather>,
    /// Ends when this is dropped.
    _listens: JoinSet<()>,
}

impl Network {
    /// Before a server at `http://ADDRESS`. The weather is fine.
    pub(crate) async fn before(server: &str) -> Self {
        let server = server.strip_prefix("http://").unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let root = format!("http://{}", listener.local_addr().unwrap());
        let weather = Arc::<Weather>::default();
        let above = Arc::clone(&weather);
        let mut listens = JoinSet::new();
        listens.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((caller, _)) = listener.accept().await {
                let (weather, server) = (Arc::clone(&above), server.clone());
                connections.spawn(async move {
                    let Ok(google) = TcpStream::connect(server).await else { return };
                    let ((questions, replies), (answers, asks)) = (caller.into_split(), google.into_split());
                    // When one way ends, so does the other: both are dropped here.
                    tokio::select! {
                        () = carry(questions, asks, &weather) => {}
                        () = carry(answers, replies, &weather) => {}
                    }
                });
            }
        });
        Self { root, weather, _listens: listens }
    }

    /// Turns the weather.
    pub(crate) fn set_bad(&self, bad: bool) {
        self.weather.bad.store(bad, Ordering::Relaxed);
    }

    /// How many connections it cut so far.
    pub(crate) fn cuts(&self) -> usize {
        self.weather.cuts.load(Ordering::Relaxed)
    }
}

async fn carry(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, weather: &Weather) {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let length = match from.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(length) => length,
        };
        let mut passes = length;
        if weather.bad.load(Ordering::Relaxed) {
            match rand::random_range(0..100) {
                0..8 => passes = 0,
                8..16 => passes = rand::random_range(0..length),
                16..35 => tokio::time::sleep(Duration::from_millis(rand::random_range(10..500))).await,
                // Longer than slotd waits.
                35..37 => tokio::time::sleep(Duration::from_secs(3)).await,
                _ => {}
            }
        }
        if to.write_all(&buffer[..passes]).await.is_err() {
            return;
        }
        if passes < length {
            weather.cuts.fetch_add(1, Ordering::Relaxed);
            return;
        }
    }
}
