//! Listening sockets: plain ones for hosted ledgers and the admin pages, TLS for the node's API.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::time::Duration;

use coco_protocol::{CHANNEL_BINDING_LABEL, ChannelBinding, Service, StreamService};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tokio_rustls::TlsAcceptor;

use super::ListenerLimits;
use super::budget::Budget;
use super::connections::{Connection, Connections, Order, Phase};
use super::feed::Feeds;
use super::http;
use super::routes::Routes;
use super::stream;
use super::turns::OWN;
use super::workers::{Aside, Workers};
use crate::Error;
use crate::authentication::{Authenticator, Presented};
use crate::metrics::{Counter, Gauge, Histogram, Metrics, Scale};
use crate::tls::HTTP_2;

/// What all listeners of a process share: the runtime that moves bytes, the threads that compute, the metrics.
#[derive(Clone)]
pub struct Server {
    runtime: Handle,
    workers: Arc<Workers>,
    long: Arc<Workers>,
    metrics: Arc<Metrics>,
}

/// A listening socket and its connections. Dropping it closes them all.
pub struct Listener {
    address: SocketAddr,
    shared: Arc<Shared>,
    tasks: [AbortHandle; 2],
}

/// What the connections of one listener share.
pub(crate) struct Shared {
    pub(crate) routes: Routes,
    pub(crate) limits: ListenerLimits,
    pub(crate) connections: Arc<Connections>,
    pub(crate) budget: Arc<Budget>,
    pub(crate) feeds: Feeds,
    pub(crate) workers: Arc<Workers>,
    /// For what proves to take long.
    pub(crate) long: Arc<Workers>,
    pub(crate) metrics: ListenerMetrics,
    /// Absent where nobody is known: what comes in plain text proves nothing, and a token in it is everybody's.
    pub(crate) authenticator: Option<Arc<Authenticator>>,
}

/// What is known of a connection's other end.
#[derive(Default)]
pub(crate) struct Client {
    pub(crate) presented: Option<Presented>,
}

pub(crate) struct ListenerMetrics {
    pub(crate) requests: Arc<Counter>,
    pub(crate) failures: Arc<Counter>,
    pub(crate) busy: Arc<Counter>,
    pub(crate) refused: Arc<Counter>,
    pub(crate) connections: Arc<Gauge>,
    pub(crate) duration: Arc<Histogram>,
}

impl Server {
    /// Starts `threads` workers, and twice as many for what takes long; `queued_max` requests may wait for either. Small requests run on all
    /// threads of the runtime but one; give it more threads than the machine has cores, and nothing else that must not wait.
    pub fn new(runtime: Handle, threads: usize, queued_max: usize, metrics: Arc<Metrics>) -> Self {
        let at_home_max = runtime.metrics().num_workers().saturating_sub(1);
        let workers = Arc::new(Workers::start(threads, queued_max, at_home_max));
        let long = Arc::new(Workers::start_long(2 * threads, queued_max));
        Self { runtime, workers, long, metrics }
    }

    /// The way to the workers for what others than clients have to have computed.
    pub fn aside(&self) -> Aside {
        Aside::of(&self.workers)
    }

    /// Serves one service over plain HTTP and WebSocket, on every path.
    pub fn listen(
        &self,
        name: &str,
        address: SocketAddr,
        service: Arc<dyn Service>,
        limits: ListenerLimits,
    ) -> Result<Listener, Error> {
        self.start(name, address, vec![service], limits, None, None)
    }

    /// Serves connections that carry bytes: secured ones, if `tls` is given.
    pub fn listen_stream(
        &self,
        name: &str,
        address: SocketAddr,
        service: Arc<dyn StreamService>,
        limits: ListenerLimits,
        tls: Option<Arc<rustls::ServerConfig>>,
    ) -> Result<Listener, Error> {
        let _in_runtime = self.runtime.enter();
        let (socket, address) = bind(address).map_err(|source| Error::Listen { address, source })?;
        let shared = self.shared(name, Vec::new(), limits, None);
        let accepting = accept_streams(socket, tls.map(TlsAcceptor::from), service, Arc::clone(&shared));
        let accepting = self.runtime.spawn(accepting).abort_handle();
        let sweeping = self.runtime.spawn(sweep(Arc::clone(&shared))).abort_handle();
        Ok(Listener { address, shared, tasks: [accepting, sweeping] })
    }

    /// Tells a service that time passes, until the runtime ends.
    pub fn keep_time(&self, service: Arc<dyn StreamService>) {
        self.runtime.spawn(tick(service, Arc::clone(&self.workers)));
    }

    /// Serves services over HTTPS, each on the path it is mounted on.
    pub fn listen_tls(
        &self,
        name: &str,
        address: SocketAddr,
        services: Vec<Arc<dyn Service>>,
        limits: ListenerLimits,
        tls: Arc<rustls::ServerConfig>,
        authenticator: Arc<Authenticator>,
    ) -> Result<Listener, Error> {
        self.start(name, address, services, limits, Some(TlsAcceptor::from(tls)), Some(authenticator))
    }

    fn start(
        &self,
        name: &str,
        address: SocketAddr,
        services: Vec<Arc<dyn Service>>,
        limits: ListenerLimits,
        tls: Option<TlsAcceptor>,
        authenticator: Option<Arc<Authenticator>>,
    ) -> Result<Listener, Error> {
        let _in_runtime = self.runtime.enter();
        let (socket, address) = bind(address).map_err(|source| Error::Listen { address, source })?;
        let shared = self.shared(name, services, limits, authenticator);
        let accepting = self.runtime.spawn(accept(socket, tls, Arc::clone(&shared))).abort_handle();
        let sweeping = self.runtime.spawn(sweep(Arc::clone(&shared))).abort_handle();
        Ok(Listener { address, shared, tasks: [accepting, sweeping] })
    }

    fn shared(
        &self,
        name: &str,
        services: Vec<Arc<dyn Service>>,
        limits: ListenerLimits,
        authenticator: Option<Arc<Authenticator>>,
    ) -> Arc<Shared> {
        Arc::new(Shared {
            routes: Routes::new(services),
            connections: Connections::new(limits.clone()),
            budget: Budget::new(limits.client_bytes_max, limits.client_bytes_per_address_max),
            feeds: Feeds::default(),
            limits,
            workers: Arc::clone(&self.workers),
            long: Arc::clone(&self.long),
            metrics: ListenerMetrics::new(&self.metrics, name),
            authenticator,
        })
    }
}

impl Listener {
    /// The address it is bound to, with the port that the system chose if 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops accepting, lets requests in flight finish for as long as `patience`, then closes what is left.
    pub async fn shut_down(self, patience: Duration) {
        self.tasks[0].abort();
        self.shared.connections.order_all(Order::Drain);
        if tokio::time::timeout(patience, self.shared.connections.emptied()).await.is_err() {
            tracing::warn!(
                connections = self.shared.connections.len(),
                "closing connections that did not finish in time"
            );
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
        self.shared.connections.order_all(Order::Close);
    }
}

impl ListenerMetrics {
    fn new(metrics: &Metrics, name: &str) -> Self {
        let labels = &[("listener", name)];
        Self {
            requests: metrics.counter("coco_http_requests", "Requests received.", labels),
            failures: metrics.counter("coco_http_failures", "Requests answered with a status of 500 or above.", labels),
            busy: metrics.counter("coco_http_busy", "Requests turned away because no worker had room.", labels),
            refused: metrics.counter("coco_http_connections_refused", "Connections turned away by a limit.", labels),
            connections: metrics.gauge("coco_http_connections", "Open connections.", labels),
            duration: metrics.histogram(
                "coco_http_request_duration_seconds",
                "From a request's head to its answer.",
                labels,
                Scale::Seconds,
            ),
        }
    }
}

pub(crate) fn bind(address: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let socket = StdListener::bind(address)?;
    socket.set_nonblocking(true)?;
    let bound = socket.local_addr()?;
    Ok((TcpListener::from_std(socket)?, bound))
}

async fn accept(socket: TcpListener, tls: Option<TlsAcceptor>, shared: Arc<Shared>) {
    let phase = if tls.is_some() { Phase::Head } else { Phase::Idle };
    loop {
        let (stream, connection) = admitted(&socket, &shared, phase).await;
        tokio::spawn(serve(stream, tls.clone(), Arc::clone(&shared), connection));
    }
}

async fn accept_streams(
    socket: TcpListener,
    tls: Option<TlsAcceptor>,
    service: Arc<dyn StreamService>,
    shared: Arc<Shared>,
) {
    let phase = if tls.is_some() { Phase::Head } else { Phase::Idle };
    loop {
        let (stream, connection) = admitted(&socket, &shared, phase).await;
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "connection ended early");
            continue;
        }
        let (service, shared) = (Arc::clone(&service), Arc::clone(&shared));
        match tls.clone() {
            None => tokio::spawn(stream::serve(stream.into_split(), None, service, shared, connection)),
            Some(tls) => tokio::spawn(serve_secured(stream, tls, service, shared, connection)),
        };
    }
}

async fn serve_secured(
    stream: TcpStream,
    tls: TlsAcceptor,
    service: Arc<dyn StreamService>,
    shared: Arc<Shared>,
    connection: Connection,
) {
    let shaken = tokio::select! {
        shaken = tls.accept(stream) => shaken,
        _ = connection.ordered(Order::Continue) => return,
    };
    let exported = shaken.and_then(|stream| {
        let binding = stream.get_ref().1.export_keying_material([0; 32], CHANNEL_BINDING_LABEL, None);
        binding.map(|binding| (stream, ChannelBinding(binding))).map_err(io::Error::other)
    });
    match exported {
        Ok((stream, binding)) => {
            stream::serve(tokio::io::split(stream), Some(binding), service, shared, connection).await;
        }
        Err(error) => tracing::debug!(%error, "TLS handshake failed"),
    }
}

/// The next connection that the limits let in.
async fn admitted(socket: &TcpListener, shared: &Shared, phase: Phase) -> (TcpStream, Connection) {
    loop {
        match socket.accept().await {
            Ok((stream, peer)) => match shared.connections.admit(peer.ip(), phase) {
                Some(connection) => return (stream, connection),
                None => shared.metrics.refused.increment(),
            },
            Err(error) => {
                // Out of descriptors, or a connection reset while queued: others may leave in a moment.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, tls: Option<TlsAcceptor>, shared: Arc<Shared>, connection: Connection) {
    let connection = Arc::new(connection);
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "connection ended early");
        return;
    }
    let Some(tls) = tls else {
        return http::serve(stream, shared, Arc::default(), connection).await;
    };
    let stream = tokio::select! {
        shaken = tls.accept(stream) => match shaken {
            Ok(stream) => stream,
            Err(error) => {
                tracing::debug!(%error, "TLS handshake failed");
                return;
            }
        },
        _ = connection.ordered(Order::Continue) => return,
    };
    connection.enter(Phase::Idle);
    let client = Arc::new(Client::of(stream.get_ref().1.peer_certificates()));
    if stream.get_ref().1.alpn_protocol() == Some(HTTP_2) {
        http::serve_streams(stream, shared, client, connection).await;
    } else {
        http::serve(stream, shared, client, connection).await;
    }
}

async fn sweep(shared: Arc<Shared>) {
    let mut ticks = tokio::time::interval(shared.connections.sweep_interval());
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        shared.connections.sweep();
        shared.metrics.connections.set(shared.connections.len() as u64);
    }
}

async fn tick(service: Arc<dyn StreamService>, workers: Arc<Workers>) {
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let service = Arc::clone(&service);
        workers.run(OWN, move || service.tick()).await;
    }
}

impl Client {
    fn of(certificates: Option<&[rustls::pki_types::CertificateDer<'_>]>) -> Self {
        Self { presented: certificates.and_then(Presented::new) }
    }
}
