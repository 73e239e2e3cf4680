//! `slotd demo`: what it prints works as printed.

use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use chrono::{DateTime, Days, Utc};
use serde_json::Value;
use slotd::domain::{Clock, clock::SystemClock};
use tokio::sync::oneshot;

use super::{
    DEADLINE,
    client::Client,
    installation::{slotd, terminate, wait},
};

/// A running demo. It is killed when this is dropped.
struct Demo {
    child: Child,
    /// What it printed until it was ready.
    said: String,
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Demo {
    async fn start() -> Self {
        let mut child = slotd().args(["demo", "--port", "0"]).stdout(Stdio::piped()).spawn().unwrap();
        let (lines, (sender, receiver)) = (child.stdout.take().unwrap(), oneshot::channel());
        std::thread::spawn(move || {
            let mut said = String::new();
            for line in BufReader::new(lines).lines().map_while(Result::ok) {
                said.extend([line.as_str(), "\n"]);
                if line == "Stop with Ctrl-C." {
                    break;
                }
            }
            let _ = sender.send(said);
        });
        let mut demo = Self { child, said: String::new() };
        demo.said = tokio::time::timeout(DEADLINE, receiver).await.unwrap().unwrap();
        demo
    }

    /// The one line to copy that begins with `start` and holds `part`.
    fn line(&self, start: &str, part: &str) -> &str {
        let mut found =
            self.said.lines().map(str::trim_start).filter(|line| line.starts_with(start) && line.contains(part));
        let line = found.next().unwrap_or_else(|| panic!("no line {start} … {part} in {}", self.said));
        assert!(found.next().is_none(), "two lines {start} … {part}");
        line
    }

    /// Runs the line with `part` in a shell as a reader would, after the line with the settings.
    fn run(&self, part: &str) -> String {
        let script = format!("{}\n{}", self.line("export ", "API="), self.line("curl ", part));
        let output = Command::new("bash").args(["-euc", &script]).output().unwrap();
        assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn ask(&self, part: &str) -> Value {
        let said = self.run(part);
        serde_json::from_str(&said).unwrap_or_else(|error| panic!("{part}: {error}: {said}"))
    }

    /// The accounts that the stand-in's week page is given, each with a token and calendars.
    async fn owner(&self) -> (Client, Vec<String>) {
        let root = self.line("Google's side", "/page/").split_whitespace().nth(2).unwrap();
        let root = root.strip_suffix("/page/").unwrap().to_owned();
        let page =
            Client::new(root.clone(), String::new()).send(hyper::Method::GET, "/page/", &[], None).await.unwrap();
        let page = String::from_utf8(page.body.to_vec()).unwrap();
        let data = page.split("id=\"accounts\">").nth(1).unwrap().split("</script>").next().unwrap();
        let accounts: Value = serde_json::from_str(data).unwrap();
        let calendars = accounts[0]["calendars"].as_array().unwrap().iter();
        let ids = calendars.map(|one| one["id"].as_str().unwrap().to_owned()).collect();
        (Client::new(format!("{root}/calendar/v3"), accounts[0]["token"].as_str().unwrap().to_owned()), ids)
    }
}

fn need(check: &str, package: &str) {
    let tool = concat!(env!("CARGO_MANIFEST_DIR"), "/tools/need");
    assert!(Command::new(tool).args([check, package]).status().unwrap().success());
}

#[tokio::test]
async fn the_lines_that_the_demo_prints_work_as_printed() {
    need("curl --version", "curl");
    let mut demo = Demo::start().await;

    let free = demo.ask("/availability");
    assert_eq!((&free["available"], &free["freshness"]), (&true.into(), &"fresh".into()), "{free}");

    let slots = demo.ask("/slots");
    let tomorrow = SystemClock.now().with_timezone(&chrono_tz::Europe::Berlin).date_naive() + Days::new(1);
    for slot in slots["slots"].as_array().unwrap() {
        let start: DateTime<Utc> = slot["start"].as_str().unwrap().parse().unwrap();
        assert_eq!(start.with_timezone(&chrono_tz::Europe::Berlin).date_naive(), tomorrow, "{slot}");
    }

    let booked = demo.ask("/bookings -d");
    assert_eq!((&booked["status"], &booked["start"]), (&"confirmed".into(), &free["start"]), "{booked}");
    assert_eq!(demo.ask("/bookings -d"), booked, "the second answer is the first one again");
    let listed = demo.ask("/bookings?limit");
    assert_eq!((listed["bookings"].as_array().unwrap().len(), &listed["bookings"][0]["id"]), (1, &booked["id"]));
    let free = demo.ask("/availability");
    assert!(free["available"] == false || free["resources"] != booked["resources"], "{free}");

    // And the owner sees it.
    let (google, calendars) = demo.owner().await;
    let id = booked["event_id"].as_str().unwrap();
    let event = super::wait_for("the booking's event", || async {
        for calendar in &calendars {
            let path = format!("/calendars/{calendar}/events/{id}");
            let found = google.send(hyper::Method::GET, &path, &[], None).await.unwrap();
            if found.status == 200 {
                return Some(found.json());
            }
        }
        None
    });
    let event = event.await;
    assert_eq!(event["summary"], "Haircut - Ada Lovelace");
    let description = event["description"].as_str().unwrap();
    assert!(description.contains("First visit") && description.contains("+49301234567"), "{description}");
    assert_eq!(super::salon::span(&event), super::salon::span(&booked));

    terminate(&demo.child);
    assert_eq!(wait(&mut demo.child).await.code(), Some(0));
}

/// Runs a demo that has to fail, and gives what it says.
fn complaint(arguments: &[&str]) -> String {
    let output = slotd().arg("demo").args(arguments).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), output.stdout.is_empty()), (Some(1), true), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    said
}

#[test]
fn a_demo_does_not_begin_in_a_folder_that_holds_something() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("diary.txt"), "mine").unwrap();
    let said = complaint(&["--port", "0", "--data-dir", folder.path().to_str().unwrap()]);
    assert!(said.contains(&format!("{} is not empty", folder.path().display())), "{said}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing was added");
}

#[test]
fn a_broken_calendar_file_is_named_with_the_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("broken.ics");
    fs::write(&file, "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nBEGIN:VEVENT\r\nUID:1\r\nEND:VCALENDAR\r\n").unwrap();
    let said = complaint(&["--port", "0", "--ics", file.to_str().unwrap()]);
    assert!(said.contains(file.to_str().unwrap()) && said.contains("line 5"), "{said}");
}

#[test]
fn a_port_that_is_taken_is_named() {
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = other.local_addr().unwrap();
    let said = complaint(&["--port", &taken.port().to_string()]);
    assert!(said.contains(&format!("cannot listen on {taken}; choose another port with --port")), "{said}");
}
