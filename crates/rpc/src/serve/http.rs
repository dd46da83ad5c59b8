//! HTTP on one connection: read a request within limits, hand it to a worker, write what the service answers.
//!
//! HTTP/1.1 has one request under way at a time, however many a client writes ahead. Over TLS a client may choose HTTP/2, and have
//! many: its answers come as they are ready.

use std::any::Any;
use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use coco_protocol::{ApiError, Caller, ClientCertificate, Feed, Reply, Rest, Service};
use coco_types::limits;
use http::header::{CONNECTION, HeaderMap, HeaderValue, RETRY_AFTER};
use http::request::Parts;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::oneshot;

use super::body::{self, BodyError};
use super::budget::{Budget, Charge};
use super::connections::{Connection, Flights, Order, Phase};
use super::feed::{Content, Fed, Place};
use super::listener::{Client, Shared};
use super::observed::Observed;
use super::socket;
use super::turns::Asker;
use super::workers::Workers;
use crate::authentication::{Authenticator, Denied};

/// A request's head over HTTP/1.1: all headers and the path.
const HEAD_BYTES_MAX: usize = 64 << 10;
const HEADERS_MAX: usize = 100;
/// The same over HTTP/2, counted as RFC 9113 §6.5.2 does: the longest token and what else clients send. Less than above, as compression (RFC 7541) lets
/// a byte or two stand for a whole header.
const STREAM_HEAD_BYTES_MAX: u32 = limits::TOKEN_BYTES_MAX as u32 + (8 << 10);
/// What a header takes in memory beside its name and its value.
const HEADER_BYTES: usize = 80;
/// A body up to this length is one request or a short batch.
const SMALL_BODY_BYTES_MAX: usize = 4 << 10;

/// The place of a request on its connection.
enum Exchange {
    /// HTTP/1.1: what the request does, the connection does.
    Alone(Arc<Connection>),
    /// HTTP/2.
    OneOfMany(Arc<Connection>),
}

impl Exchange {
    fn connection(&self) -> &Connection {
        match self {
            Self::Alone(connection) | Self::OneOfMany(connection) => connection,
        }
    }

    fn charge(&self, budget: &Arc<Budget>) -> Charge {
        let address = self.connection().address();
        match self {
            Self::Alone(_) => budget.nothing(address),
            Self::OneOfMany(_) => budget.nothing_of_many(address, limits::REQUESTS_PER_CONNECTION_MAX as usize),
        }
    }

    /// For a request's head, which the cap on connections covers where each has one; `None` if the budget is spent.
    fn charge_head(&self, head: &Parts, budget: &Arc<Budget>) -> Option<Charge> {
        let mut charge = self.charge(budget);
        let bytes = match self {
            Self::Alone(_) => 0,
            Self::OneOfMany(_) => bytes_of(head),
        };
        charge.grow_to(bytes).then_some(charge)
    }
}

fn bytes_of(head: &Parts) -> usize {
    let target = head.uri.path_and_query().map_or(0, |target| target.as_str().len());
    let authority = head.uri.authority().map_or(0, |authority| authority.as_str().len());
    let headers = head.headers.iter().map(|(name, value)| HEADER_BYTES + name.as_str().len() + value.len());
    target + authority + headers.sum::<usize>()
}

/// Serves HTTP/2 until the client leaves, breaks the protocol, or is ordered to go.
pub(crate) async fn serve_streams<S>(stream: S, shared: Arc<Shared>, client: Arc<Client>, connection: Arc<Connection>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let io = TokioIo::new(Observed { stream, connection: Arc::clone(&connection), one_at_a_time: false });
    let flights = Flights::new(Arc::clone(&connection));
    let of_all = Arc::clone(&connection);
    let answering = service_fn(move |request| {
        let (shared, client, flight) = (Arc::clone(&shared), Arc::clone(&client), flights.begin());
        let exchange = Exchange::OneOfMany(Arc::clone(&of_all));
        async move {
            let response = answer(request, &shared, &client, &exchange).await;
            Ok::<_, Infallible>(content(response, &shared, &exchange, Box::new(flight)))
        }
    });
    let serving = http2::Builder::new(TokioExecutor::new())
        .max_concurrent_streams(limits::REQUESTS_PER_CONNECTION_MAX)
        .max_header_list_size(STREAM_HEAD_BYTES_MAX)
        .initial_connection_window_size(limits::CONNECTION_WINDOW_BYTES)
        .initial_stream_window_size(limits::CONNECTION_WINDOW_BYTES)
        .serve_connection(io, answering);
    drive(pin!(serving), |serving| serving.graceful_shutdown(), &connection).await;
}

/// Serves HTTP/1.1 until the client leaves, breaks the protocol, or is ordered to go.
pub(crate) async fn serve<S>(stream: S, shared: Arc<Shared>, client: Arc<Client>, connection: Arc<Connection>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let io = TokioIo::new(Observed { stream, connection: Arc::clone(&connection), one_at_a_time: true });
    let answering = {
        let connection = Arc::clone(&connection);
        service_fn(move |request| {
            let (shared, client, connection) = (Arc::clone(&shared), Arc::clone(&client), Arc::clone(&connection));
            async move {
                let exchange = Exchange::Alone(Arc::clone(&connection));
                let response = answer(request, &shared, &client, &exchange).await;
                connection.enter(Phase::Idle);
                let until_idle = Box::new(Alive(Arc::clone(&connection)));
                Ok::<_, Infallible>(content(response, &shared, &exchange, until_idle))
            }
        })
    };
    // Heads that come slowly are the sweep's business, so hyper needs no timer.
    let serving = http1::Builder::new()
        .header_read_timeout(None)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .pipeline_flush(true)
        .serve_connection(io, answering)
        .with_upgrades();
    drive(pin!(serving), |serving| serving.graceful_shutdown(), &connection).await;
}

/// Until the connection ends, or is ordered to; `drain` lets it finish what is under way.
async fn drive<F, E>(mut serving: Pin<&mut F>, drain: fn(Pin<&mut F>), connection: &Connection)
where
    F: Future<Output = Result<(), E>>,
    E: std::fmt::Display,
{
    let mut known = Order::Continue;
    loop {
        tokio::select! {
            biased;
            ended = serving.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "connection ended");
                }
                return;
            }
            order = connection.ordered(known) => match order {
                Order::Drain => drain(serving.as_mut()),
                Order::Continue | Order::Close => return,
            },
        }
        known = Order::Drain;
    }
}

/// A connection whose response goes on is at work until that ends.
struct Alive(Arc<Connection>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.enter(Phase::Idle);
    }
}

/// The response as it leaves. `held` is dropped when all of it has been handed over.
fn content(
    mut response: Response<Bytes>,
    shared: &Arc<Shared>,
    exchange: &Exchange,
    held: Box<dyn Any + Send>,
) -> Response<Content> {
    let Some(feed) = response.extensions_mut().remove::<Feed>() else {
        return response.map(|body| Content::Whole(Full::new(body)));
    };
    let (Exchange::Alone(connection) | Exchange::OneOfMany(connection)) = exchange;
    let Some(place) = Place::take(shared, connection.address()) else {
        shared.metrics.busy.increment();
        return later(ApiError::busy().into_response()).map(|body| Content::Whole(Full::new(body)));
    };
    if let Exchange::Alone(connection) = exchange {
        connection.enter(Phase::Socket);
    }
    response.map(|first| Content::Fed(Fed::start(&feed, first, place, Arc::clone(connection), held)))
}

async fn answer(
    request: Request<Incoming>,
    shared: &Arc<Shared>,
    client: &Arc<Client>,
    exchange: &Exchange,
) -> Response<Bytes> {
    let started = Instant::now();
    shared.metrics.requests.increment();
    let response = match shared.routes.service(request.uri().path()) {
        None => {
            let message = format!("there is nothing at {}", request.uri().path());
            ApiError::new(StatusCode::NOT_FOUND, "ResourceNotFound", message).into_response()
        }
        Some(service) => match exchange {
            Exchange::Alone(connection) if socket::wants_upgrade(&request) => {
                return socket::upgrade(request, Arc::clone(service), shared, client, connection).await;
            }
            _ => call(request, service, shared, client, exchange).await,
        },
    };
    if response.status().is_server_error() {
        shared.metrics.failures.increment();
    }
    shared.metrics.duration.observe_duration(started.elapsed());
    response
}

async fn call(
    request: Request<Incoming>,
    service: &Arc<dyn Service>,
    shared: &Arc<Shared>,
    client: &Arc<Client>,
    exchange: &Exchange,
) -> Response<Bytes> {
    let (head, body) = request.into_parts();
    let Some(of_head) = exchange.charge_head(&head, &shared.budget) else {
        shared.metrics.busy.increment();
        return busy(&**service);
    };
    let bytes_max = shared.limits.of_bodies(service.takes_batches(head.uri.path()));
    let asker: Asker = exchange.connection().address();
    let collecting = body::collect(body, bytes_max, exchange.charge(&shared.budget));
    let collected = match exchange {
        Exchange::Alone(connection) => {
            connection.enter(Phase::Body);
            let collected = collecting.await;
            connection.enter(Phase::Working);
            collected
        }
        // The sweep sees connections, not requests.
        Exchange::OneOfMany(_) => {
            tokio::time::timeout(shared.limits.body_timeout, collecting).await.unwrap_or(Err(BodyError::Broken))
        }
    };
    let (body, charge) = match collected {
        Ok(collected) => collected,
        Err(error) => return refuse_body(&error, &**service, shared),
    };
    let small = body.len() <= SMALL_BODY_BYTES_MAX;
    let mut request = Request::from_parts(head, body);
    let (reply, replied) = oneshot::channel();
    let (there, asked, client, queued) = (Arc::clone(shared), Arc::clone(service), Arc::clone(client), Instant::now());
    let job = move || {
        if there.is_late(queued, &there.workers) {
            there.metrics.busy.increment();
            return drop(reply.send(busy(&*asked)));
        }
        let reply: Reply = Box::new(move |response| {
            drop(of_head);
            drop(reply.send(response));
        });
        match client.identify(&mut request, there.authenticator.as_deref()) {
            Ok(caller) => {
                if let Some(rest) = asked.begin(caller, request, reply) {
                    go_on(&there, asker, rest, charge);
                }
            }
            Err(denied) => reply(denied.into_response()),
        }
    };
    let run = if small { shared.workers.try_run_small(asker, job) } else { shared.workers.try_run(asker, job) };
    if run.is_err() {
        shared.metrics.busy.increment();
        return busy(&**service);
    }
    let Ok(response) = replied.await else { return busy(&**service) };
    let (head, body) = response.into_parts();
    match exchange.charge(&shared.budget).hold(body, |bytes| exchange.connection().owe(bytes)) {
        Some(body) => Response::from_parts(head, body),
        None => busy(&**service),
    }
}

/// Leaves what is left of a request to the threads for long work. Where there is no room for it its reply is lost, which answers that the node is busy.
fn go_on(shared: &Arc<Shared>, asker: Asker, rest: Rest, mut charge: Charge) {
    let (there, queued) = (Arc::clone(shared), Instant::now());
    let fits = charge.grow_to(rest.held_bytes);
    let job = move || {
        let _charge = charge;
        if there.is_late(queued, &there.long) {
            return there.metrics.busy.increment();
        }
        (rest.job)();
    };
    if !fits || shared.long.try_run(asker, job).is_err() {
        shared.metrics.busy.increment();
    }
}

fn refuse_body(error: &BodyError, service: &dyn Service, shared: &Shared) -> Response<Bytes> {
    let (status, code, message) = match error {
        BodyError::TooLarge { .. } => (
            StatusCode::PAYLOAD_TOO_LARGE,
            "RequestBodyTooLarge",
            format!(
                "a body has at most {} bytes, a batch at most {}",
                shared.limits.body_bytes_max, shared.limits.batch_bytes_max
            ),
        ),
        BodyError::Busy => return busy(service),
        BodyError::Broken => (StatusCode::BAD_REQUEST, "InvalidInput", "the body ended early".to_owned()),
    };
    let mut response = ApiError::new(status, code, message).into_response();
    if *error != (BodyError::TooLarge { answerable: true }) {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Turns a request away, as its service would.
pub(crate) fn busy(service: &dyn Service) -> Response<Bytes> {
    later(service.busy())
}

fn later(mut response: Response<Bytes>) -> Response<Bytes> {
    response.headers_mut().entry(RETRY_AFTER).or_insert(HeaderValue::from_static("1"));
    response
}

impl Shared {
    /// Whether a request has waited so long that others had better be served instead.
    fn is_late(&self, queued: Instant, workers: &Workers) -> bool {
        queued.elapsed() > self.limits.queued_max && workers.is_crowded()
    }
}

impl Client {
    /// Who sends this request, as of now: an identity may end while its connection lives.
    fn identify(&self, request: &mut Request<Bytes>, authenticator: Option<&Authenticator>) -> Result<Caller, Denied> {
        let Some(authenticator) = authenticator else { return Ok(Caller::Anonymous) };
        if let Some(presented) = &self.presented {
            request.extensions_mut().insert(ClientCertificate(presented.leaf()));
        }
        authenticator.caller_of(self.presented.as_ref(), request)
    }

    /// The same of a request for a WebSocket, which has no body that could be signed.
    pub(crate) fn identify_by_head(
        &self,
        headers: &mut HeaderMap,
        authenticator: Option<&Authenticator>,
    ) -> Result<Caller, Denied> {
        match authenticator {
            Some(authenticator) => authenticator.caller_of_head(self.presented.as_ref(), headers),
            None => Ok(Caller::Anonymous),
        }
    }
}
