//! The operator's pages over a real socket.

#[allow(dead_code, reason = "shared with tests that need more of it")]
mod harness;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use coco_rpc::ListenerLimits;
use coco_rpc::admin::{AdminService, Component, Health};
use coco_rpc::metrics::Metrics;
use harness::{Client, listen, server};

struct Node {
    has_primary: AtomicBool,
}

impl Health for Node {
    fn components(&self) -> BTreeMap<&'static str, Component> {
        let component = |ready| Component { ready, detail: "as the test says".to_owned() };
        [("joined", component(true)), ("primary", component(self.has_primary.load(Ordering::Relaxed)))].into()
    }

    fn version(&self) -> serde_json::Value {
        serde_json::json!({"name": "coco"})
    }
}

async fn get(client: &mut Client, path: &str) -> (u16, String) {
    client.send(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).await;
    let (status, body) = client.answer().await.expect("an answer");
    (status, String::from_utf8(body).expect("text"))
}

#[tokio::test]
async fn the_pages_say_how_the_node_is() {
    let node = Arc::new(Node { has_primary: AtomicBool::new(false) });
    let metrics = Metrics::new();
    metrics.counter("coco_things", "Things.", &[]).increment();
    let listener =
        listen(&server(1, 16), AdminService::new(metrics, Arc::clone(&node) as _), ListenerLimits::default());
    let client = &mut Client::connect(listener.address()).await;
    assert_eq!(get(client, "/healthz").await, (200, "ok\n".to_owned()));
    assert_eq!(get(client, "/version").await, (200, r#"{"name":"coco"}"#.to_owned()));
    let (status, text) = get(client, "/metrics").await;
    assert_eq!((status, text.contains("coco_things_total 1\n"), text.ends_with("# EOF\n")), (200, true, true));
    let (status, body) = get(client, "/readyz").await;
    let body: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!((status, &body["ready"], &body["components"]["joined"]["ready"]), (503, &false.into(), &true.into()));
    node.has_primary.store(true, Ordering::Relaxed);
    assert_eq!(get(client, "/readyz").await.0, 200);
    assert_eq!(get(client, "/nothing").await.0, 404);
    client.post("/healthz", b"").await;
    assert_eq!(client.answer().await.map(|(status, _)| status), Some(405));
}
