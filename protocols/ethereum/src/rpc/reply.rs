//! Collects the answers of one message, whenever and on whatever thread they come, and hands the whole over once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::error::RpcError;
use super::json::{Json, push_object};
use super::limits::{RESPONSE_BYTES_MAX, UNSENT_BYTES_MAX, UNSENT_LITTLE_BYTES_MAX, UNSENT_SPARE_BYTES_MAX};

/// What a method answers.
pub type Answer = Result<Json, RpcError>;

/// Takes the text to send back; `None` if the message had nothing but notifications.
pub type Finish = Box<dyn FnOnce(Option<String>) + Send>;

/// How much waits in [`Replies`] of which some are missing, however long that takes.
#[derive(Clone, Default)]
pub struct Unsent(Arc<AtomicUsize>);

/// What of it one message has; given back when dropped.
struct Share {
    all: Unsent,
    bytes: usize,
}

/// The answers of one message, in the order of its requests.
pub struct Replies {
    state: Mutex<State>,
}

struct State {
    /// `None` until answered; a notification's stays empty.
    slots: Vec<Option<String>>,
    missing: usize,
    bytes: usize,
    batch: bool,
    finish: Option<Finish>,
    share: Share,
    /// There was no room even for errors: one answers the whole message.
    given_up: bool,
}

/// The duty to answer one request. Dropping it answers too, with an internal error: a caller never waits for nothing.
pub struct Responder {
    replies: Arc<Replies>,
    slot: usize,
    /// `None` for a notification.
    id: Option<Box<str>>,
    sent: bool,
}

impl Replies {
    /// For a message of `count` requests; each must get its [`Responder`].
    pub fn new(count: usize, batch: bool, unsent: &Unsent, finish: Finish) -> Arc<Self> {
        let (slots, share) = (vec![None; count], Share { all: unsent.clone(), bytes: 0 });
        let finish = Some(finish);
        let state = State { slots, missing: count, bytes: 0, batch, finish, share, given_up: false };
        Arc::new(Self { state: Mutex::new(state) })
    }

    pub fn responder(self: &Arc<Self>, slot: usize, id: Option<&str>) -> Responder {
        Responder { replies: self.clone(), slot, id: id.map(Into::into), sent: false }
    }

    /// Of what is answered so far.
    pub fn bytes(&self) -> usize {
        self.state.lock().bytes
    }

    fn fill(&self, slot: usize, id: Option<&str>, answer: Answer) {
        let mut reply = id.map(|id| render(id, answer)).unwrap_or_default();
        let refusal = |error| id.map(|id| render(id, Err(error))).unwrap_or_default();
        let mut state = self.state.lock();
        if state.bytes.saturating_add(reply.len()) > RESPONSE_BYTES_MAX {
            reply = refusal(RpcError::response_too_large());
        }
        if state.missing > 1 || state.given_up {
            reply = state.kept(reply, || refusal(too_much_waits()));
        }
        state.bytes = state.bytes.saturating_add(reply.len());
        if let Some(slot @ None) = state.slots.get_mut(slot) {
            *slot = Some(reply);
            state.missing -= 1;
        }
        if state.missing > 0 {
            return;
        }
        let Some(finish) = state.finish.take() else { return };
        let text = state.assemble();
        drop(state);
        finish(text);
    }
}

impl State {
    /// What is kept of an answer until others are there.
    fn kept(&mut self, reply: String, refusal: impl FnOnce() -> String) -> String {
        if self.given_up {
            return String::new();
        }
        let little = self.bytes.saturating_add(reply.len()) <= UNSENT_LITTLE_BYTES_MAX;
        let spare = if little { UNSENT_SPARE_BYTES_MAX } else { 0 };
        if self.share.grow_by(reply.len(), UNSENT_BYTES_MAX + spare) {
            return reply;
        }
        let refusal = refusal();
        let shorter = if refusal.len() < reply.len() { refusal } else { reply };
        if self.share.grow_by(shorter.len(), UNSENT_BYTES_MAX + UNSENT_SPARE_BYTES_MAX) {
            return shorter;
        }
        self.given_up = true;
        self.slots.iter_mut().flatten().for_each(|kept| *kept = String::new());
        self.bytes = 0;
        self.share.give_back();
        String::new()
    }

    fn assemble(&mut self) -> Option<String> {
        if self.given_up {
            return Some(render("null", Err(too_much_waits())));
        }
        let mut replies = std::mem::take(&mut self.slots).into_iter().flatten().filter(|reply| !reply.is_empty());
        let first = replies.next()?;
        if !self.batch {
            return Some(first);
        }
        let mut text = String::with_capacity(self.bytes + self.slots.len() + 2);
        text.push('[');
        text.push_str(&first);
        for reply in replies {
            text.push(',');
            text.push_str(&reply);
        }
        text.push(']');
        Some(text)
    }
}

impl Share {
    /// `false` if all together would be more than `max`; then nothing changes.
    fn grow_by(&mut self, bytes: usize, max: usize) -> bool {
        let grown = |all: usize| all.checked_add(bytes).filter(|all| *all <= max);
        let fits = self.all.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, grown).is_ok();
        self.bytes += if fits { bytes } else { 0 };
        fits
    }

    fn give_back(&mut self) {
        self.all.0.fetch_sub(std::mem::take(&mut self.bytes), Ordering::Relaxed);
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.give_back();
    }
}

fn too_much_waits() -> RpcError {
    RpcError::limit(format!("{UNSENT_BYTES_MAX} bytes of answers that wait for others of their batches"))
}

impl Responder {
    pub fn send(mut self, answer: Answer) {
        self.sent = true;
        self.replies.fill(self.slot, self.id.as_deref(), answer);
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        if !self.sent {
            self.replies.fill(self.slot, self.id.as_deref(), Err(RpcError::internal("a request was dropped")));
        }
    }
}

/// One response object. `id` is JSON.
pub fn render(id: &str, answer: Answer) -> String {
    let size = answer.as_ref().map_or(96, |json| json.0.len());
    let mut out = String::with_capacity(size + id.len() + 40);
    push_object(&mut out, |object| {
        object.string("jsonrpc", "2.0");
        object.json("id", id);
        match answer {
            Ok(json) => object.json("result", &json.0),
            Err(error) => object.object("error", |object| {
                object.field("code").push_str(&error.code.to_string());
                object.string("message", &message(&error));
                match (&error.data, &error.transaction) {
                    (Some(data), Some(transaction)) => object.object("data", |object| {
                        object.string("message", &error.message);
                        object.hash("txHash", transaction);
                        object.string("data", data);
                    }),
                    (Some(data), None) => object.string("data", data),
                    (None, _) => {}
                }
            }),
        }
    });
    out
}

/// The client's text of an error. An internal one goes to the log with its cause, and names the line there.
fn message(error: &RpcError) -> String {
    let Some(cause) = &error.cause else { return error.message.to_string() };
    let reference = reference(cause);
    tracing::error!(%reference, %cause, "an Ethereum request failed inside the node");
    format!("{} (reference {reference})", error.message)
}

/// Eight hex digits that are the same for the same cause, and tell nothing of it.
fn reference(cause: &str) -> String {
    let hash = alloy_primitives::keccak256(cause);
    alloy_primitives::hex::encode(&hash[..4])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What was handed over: once, if all is well.
    type Sent = Arc<Mutex<Vec<Option<String>>>>;

    fn collect(batch: bool, ids: &[Option<&str>]) -> (Vec<Responder>, Sent) {
        collect_within(&Unsent::default(), batch, ids)
    }

    fn collect_within(unsent: &Unsent, batch: bool, ids: &[Option<&str>]) -> (Vec<Responder>, Sent) {
        let sent = Arc::new(Mutex::new(Vec::new()));
        let sink = sent.clone();
        let replies = Replies::new(ids.len(), batch, unsent, Box::new(move |text| sink.lock().push(text)));
        (ids.iter().enumerate().map(|(slot, id)| replies.responder(slot, *id)).collect(), sent)
    }

    #[test]
    fn answers_leave_in_the_order_of_the_requests_whatever_order_they_came_in() {
        let (mut responders, sent) = collect(true, &[Some("1"), None, Some("\"x\"")]);
        while let Some(responder) = responders.pop() {
            assert!(sent.lock().is_empty());
            responder.send(Ok(Json::bool(true)));
        }
        let expected = r#"[{"jsonrpc":"2.0","id":1,"result":true},{"jsonrpc":"2.0","id":"x","result":true}]"#;
        assert_eq!(*sent.lock(), [Some(expected.to_owned())]);
    }

    #[test]
    fn nothing_but_notifications_is_answered_with_nothing() {
        let (responders, sent) = collect(true, &[None, None]);
        responders.into_iter().for_each(|responder| responder.send(Ok(Json::null())));
        assert_eq!(*sent.lock(), [None]);
    }

    #[test]
    fn a_dropped_request_is_answered_without_its_cause() {
        let (responders, sent) = collect(false, &[Some("7")]);
        drop(responders);
        let text = sent.lock()[0].clone().unwrap();
        assert!(
            text.starts_with(r#"{"jsonrpc":"2.0","id":7,"error":{"code":-32603,"message":"internal error (reference "#)
        );
        assert!(!text.contains("dropped"));
    }

    #[test]
    fn a_batch_stops_growing_at_its_limit_and_the_rest_is_told_so() {
        let (responders, sent) = collect(true, &[Some("1"), Some("2"), Some("3")]);
        for responder in responders {
            responder.send(Ok(Json::string(&"x".repeat(RESPONSE_BYTES_MAX / 2 - 100))));
        }
        let text = sent.lock()[0].clone().unwrap();
        assert!(text.len() < RESPONSE_BYTES_MAX + 200);
        assert!(text.ends_with(r#"{"jsonrpc":"2.0","id":3,"error":{"code":-32003,"message":"response too large"}}]"#));
    }

    fn spent_but(bytes: usize) -> Unsent {
        Unsent(Arc::new(AtomicUsize::new(UNSENT_BYTES_MAX - bytes)))
    }

    fn waiting(unsent: &Unsent) -> usize {
        unsent.0.load(Ordering::Relaxed)
    }

    #[test]
    fn what_waits_for_the_others_of_its_message_is_counted_until_all_are_there() {
        let unsent = Unsent::default();
        let (mut responders, sent) = collect_within(&unsent, true, &[Some("1"), Some("2")]);
        responders.remove(0).send(Ok(Json::string(&"x".repeat(50_000))));
        assert!((50_000..50_100).contains(&waiting(&unsent)));
        drop(responders);
        assert_eq!((waiting(&unsent), sent.lock().len()), (0, 1));
        let (responders, _) = collect_within(&unsent, false, &[Some("1")]);
        responders.into_iter().for_each(|responder| responder.send(Ok(Json::string(&"x".repeat(50_000)))));
        assert_eq!(waiting(&unsent), 0, "it waits for nothing");
    }

    #[test]
    fn of_all_messages_together_so_much_waits_and_no_more() {
        let unsent = spent_but(50_000);
        let (mut responders, sent) = collect_within(&unsent, true, &[Some("1"), Some("2"), Some("3"), Some("4")]);
        let large = || Ok(Json::string(&"x".repeat(30_000)));
        responders.remove(0).send(large());
        responders.remove(0).send(large());
        responders.remove(0).send(Ok(Json::data(&[7; 32])));
        responders.remove(0).send(large());
        let text = sent.lock()[0].clone().unwrap();
        let answers: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
        let told = |index: usize| answers[index]["result"].as_str().map_or(0, str::len);
        assert_eq!([told(0), told(1), told(2), told(3)], [30_000, 0, 66, 30_000]);
        assert_eq!(answers[1]["error"]["code"], -32005);
        assert_eq!(waiting(&unsent), UNSENT_BYTES_MAX - 50_000);
    }

    #[test]
    fn a_message_for_which_there_is_no_room_at_all_gets_one_error_and_holds_nothing() {
        let unsent = Unsent::default();
        let (mut responders, sent) = collect_within(&unsent, true, &[Some("1"), Some("2"), Some("3")]);
        responders.remove(0).send(Ok(Json::bool(true)));
        let others = UNSENT_BYTES_MAX + UNSENT_SPARE_BYTES_MAX - waiting(&unsent);
        unsent.0.fetch_add(others, Ordering::Relaxed);
        responders.remove(0).send(Ok(Json::bool(true)));
        assert_eq!(waiting(&unsent), others);
        drop(responders);
        let text = sent.lock()[0].clone().unwrap();
        assert!(text.starts_with(r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32005,"#), "{text}");
    }
}
