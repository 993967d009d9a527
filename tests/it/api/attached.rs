//! Clients that watch a gateway from elsewhere.

use std::sync::Arc;
use std::time::Duration;

use fieldgate::api::Client;
use fieldgate::monitor::{
    Asker, Command, HistoryQuery, LinkId, LinkState, Observer, Order, Sight, SinkId, Snapshot,
};
use fieldgate::telemetry::{Name, Timestamp};

use super::PACKET;
use crate::support::{Fieldgate, Mosquitto, PATIENCE, Port, Signal};

async fn eventually<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        if let Some(found) = attempt() {
            return found;
        }
        assert!(tokio::time::Instant::now() < deadline, "no {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn snapshot_where(
    client: &Client,
    holds: impl Fn(&Snapshot) -> bool,
) -> impl FnMut() -> Option<Arc<Snapshot>> {
    move || client.snapshot().filter(|snapshot| holds(snapshot))
}

fn is_connected(client: &Client) -> Option<()> {
    matches!(client.sight(), Sight::Connected { .. }).then_some(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_clients_watch_and_command_a_gateway_through_its_restart() {
    let broker = Mosquitto::start();
    let port = Port::reserve();
    let url = format!("http://127.0.0.1:{}/", port.number());
    let mut gateway = Fieldgate::new(&format!(
        "shutdown_timeout = \"1s\"\n[source]\nkind = \"stdin\"\n[api]\nlisten = \"127.0.0.1:{}\"\n\
         token = \"t0ken\"\n[mqtt]\nbroker_url = \"{}\"\n",
        port.number(),
        broker.url()
    ));
    let token = "t0ken".into();
    let clients = [(); 2].map(|()| Client::start(&url, Some(&token)).unwrap());
    let lost = eventually("failed attempt", || match clients[0].sight() {
        Sight::Lost { reason, .. } if reason != "connecting" => Some(reason),
        _ => None,
    });
    assert!(lost.await.contains("refused"));

    gateway.start_again();
    for client in &clients {
        eventually("connection", || is_connected(client)).await;
    }
    gateway.write_stdin(format!("{PACKET}\n").as_bytes());
    let delivered = |snapshot: &Snapshot| snapshot.sink(&SinkId::mqtt()).unwrap().delivered == 8;
    for client in &clients {
        eventually("delivery", snapshot_where(client, delivered)).await;
        eventually("traffic", || {
            (!client.traffic_since(0).is_empty()).then_some(())
        })
        .await;
        eventually("deliveries", || {
            (!client.deliveries_since(0).is_empty()).then_some(())
        })
        .await;
    }
    let now = Timestamp::now();
    let query = HistoryQuery {
        source: None,
        node: Name::new("node1"),
        metric: Name::new("humidity"),
        from: now.plus_millis(-60_000),
        to: now.plus_millis(60_000),
        points: 10,
    };
    let points = clients[1].history(query.clone()).await.unwrap();
    assert_eq!(points.len(), 1);
    assert!((points[0].mean - 54.1).abs() < f64::EPSILON);

    clients[0]
        .command(Command::To(Order::Hold, LinkId::mqtt()), Asker::Screen)
        .await
        .unwrap();
    let held =
        |snapshot: &Snapshot| snapshot.link(&LinkId::mqtt()).unwrap().state == LinkState::Held;
    eventually("hold seen by the other", snapshot_where(&clients[1], held)).await;
    let refused = clients[1]
        .command(Command::To(Order::Hold, LinkId::influxdb()), Asker::Screen)
        .await;
    assert!(refused.unwrap_err().contains("influxdb is not configured"));

    let last_log = |client: &Client| client.log_since(0).last().map(|line| line.number);
    let before = last_log(&clients[0]).unwrap();
    let started = clients[0].snapshot().unwrap().started;
    gateway.signal(Signal::SIGTERM);
    assert!(gateway.wait_exit(PATIENCE).success());
    for client in &clients {
        eventually("loss", || {
            matches!(client.sight(), Sight::Lost { .. }).then_some(())
        })
        .await;
        assert!(client.snapshot().is_some(), "what was seen last stays");
    }
    assert!(clients[0].history(query).await.is_err());

    gateway.start_again();
    for client in &clients {
        let is_new = |snapshot: &Snapshot| snapshot.started > started;
        eventually("new gateway", snapshot_where(client, is_new)).await;
        eventually("connection", || is_connected(client)).await;
        let fresh = eventually("new log lines", || {
            let lines = client.log_since(before + 1);
            lines
                .iter()
                .any(|line| line.entry.message.starts_with("Starting."))
                .then_some(lines)
        });
        assert!(
            fresh
                .await
                .windows(2)
                .all(|pair| pair[0].number < pair[1].number)
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_token_and_a_stranger_are_said_in_plain_words() {
    let port = Port::reserve();
    let config = format!(
        "[source]\nkind = \"stdin\"\n[api]\nlisten = \"127.0.0.1:{}\"\ntoken = \"right\"\n",
        port.number()
    );
    let mut gateway = Fieldgate::new(&config).start();
    super::listening_port(&mut gateway);
    let broker = Mosquitto::start();
    let wrong = "wrong".into();
    for (port, token, words) in [
        (port.number(), Some(&wrong), "token"),
        (port.number(), None, "token"),
        (broker.port(), None, ""),
    ] {
        let client = Client::start(&format!("http://127.0.0.1:{port}"), token).unwrap();
        let reason = eventually("refusal", || match client.sight() {
            Sight::Lost { reason, .. } if reason != "connecting" => Some(reason),
            _ => None,
        });
        let reason = reason.await;
        assert!(
            reason.contains(words) && !reason.contains("wrong"),
            "{reason}"
        );
    }
    for url in [
        "",
        "greenhouse:8787",
        "ftp://x",
        "http://user:pass@x",
        "http://x?y",
    ] {
        assert!(Client::start(url, None).is_err(), "{url}");
    }
}
