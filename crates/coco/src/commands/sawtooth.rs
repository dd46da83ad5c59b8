//! `coco sawtooth …`: what Sawtooth's own programs need beside them.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use clap::{Args, Subcommand};
use coco_attestation::{EvidenceSource, TeeKind, program_report_data};
use coco_crypto::sha256;
use coco_protocol::CHANNEL_BINDING_LABEL;
use coco_types::Digest;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::tls;

/// A node that does not answer by then counts as gone, for now.
const PATIENCE: Duration = Duration::from_secs(10);
/// Processors that are carried at a time.
const CARRIED_MAX: usize = 256;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Prove to a network what runs here, for transaction processors that cannot: run it in the same TEE, and let them connect to it
    AttestProxy(AttestProxy),
}

#[derive(Args, Debug)]
pub struct AttestProxy {
    /// A node's `sawtooth_attested` address; several are tried in turn
    #[arg(long, required = true, value_name = "HOST:PORT")]
    node: Vec<String>,
    /// The service's certificate: no other network's node is talked to
    #[arg(long, value_name = "CERT")]
    service: PathBuf,
    /// Where processors connect, in the clear: an address of this machine only
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:4004")]
    listen: SocketAddr,
    /// On SEV-SNP, a file with AMD's certificates for this machine's key, where the host does not supply them
    #[arg(long, value_name = "FILE")]
    amd_certificates: Option<PathBuf>,
}

pub fn run(command: &Command) -> anyhow::Result<()> {
    match command {
        Command::AttestProxy(options) => attest_proxy(options),
    }
}

fn attest_proxy(options: &AttestProxy) -> anyhow::Result<()> {
    ensure!(
        options.listen.ip().is_loopback(),
        "--listen {}: what leaves this TEE in the clear is no secret; use an address of loopback",
        options.listen
    );
    let service = tls::read_certificate(&options.service)?;
    let source = coco_node::shell::evidence_of_this_machine(false, options.amd_certificates.clone())?;
    if source.kind() == TeeKind::Virtual {
        tracing::warn!("this machine offers no TEE: the evidence is virtual, and protects nothing");
    }
    let proxy = Arc::new(Proxy {
        nodes: options.node.clone(),
        tls: tls::trusting(&service)?,
        service: sha256(&service.public_key().spki_der()),
        source,
    });
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(options.listen).await;
        let listener = listener.with_context(|| format!("cannot listen on {}", options.listen))?;
        println!("processors connect to tcp://{}", listener.local_addr()?);
        tokio::select! {
            served = serve(listener, proxy) => served,
            stopped = tokio::signal::ctrl_c() => stopped.context("signal handling"),
        }
    })
}

/// How connections are carried on.
struct Proxy {
    nodes: Vec<String>,
    tls: Arc<ClientConfig>,
    /// SHA-256 of the service's public key.
    service: Digest,
    source: Arc<dyn EvidenceSource>,
}

async fn serve(listener: TcpListener, proxy: Arc<Proxy>) -> anyhow::Result<()> {
    let places = Arc::new(Semaphore::new(CARRIED_MAX));
    loop {
        let place = Arc::clone(&places).acquire_owned().await.context("the places are never closed")?;
        let (processor, _) = listener.accept().await?;
        let proxy = Arc::clone(&proxy);
        tokio::spawn(async move {
            // ZeroMQ connects again by itself when this ends.
            if let Err(error) = proxy.carry(processor).await {
                tracing::warn!("{error:#}");
            }
            drop(place);
        });
    }
}

impl Proxy {
    async fn carry(&self, mut processor: TcpStream) -> anyhow::Result<()> {
        processor.set_nodelay(true)?;
        let mut node = self.connect().await?;
        tokio::io::copy_bidirectional(&mut processor, &mut node).await.context("the connection ended")?;
        Ok(())
    }

    /// To the first node that takes the evidence.
    async fn connect(&self) -> anyhow::Result<TlsStream<TcpStream>> {
        let mut failures = Vec::new();
        for node in &self.nodes {
            match tokio::time::timeout(PATIENCE, self.prove(node)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => failures.push(format!("{node}: {error:#}")),
                Err(_) => failures.push(format!("{node}: no answer")),
            }
        }
        bail!("no node takes this connection: {}", failures.join("; "))
    }

    async fn prove(&self, node: &str) -> anyhow::Result<TlsStream<TcpStream>> {
        let host = node.rsplit_once(':').context("expected HOST:PORT")?.0.trim_matches(['[', ']']);
        let name = ServerName::try_from(host.to_owned())?;
        let stream = TcpStream::connect(node).await?;
        stream.set_nodelay(true)?;
        let mut stream = TlsConnector::from(Arc::clone(&self.tls)).connect(name, stream).await?;
        let channel = stream.get_ref().1.export_keying_material([0; 32], CHANNEL_BINDING_LABEL, None)?;
        let (source, wanted) = (Arc::clone(&self.source), program_report_data(&self.service, &channel));
        let evidence = tokio::task::spawn_blocking(move || source.evidence(&wanted)).await??;
        let evidence = serde_json::to_vec(&evidence)?;
        stream.write_u32(u32::try_from(evidence.len())?).await?;
        stream.write_all(&evidence).await?;
        stream.flush().await?;
        let taken = stream.read_u8().await?;
        let mut text = vec![0; usize::from(stream.read_u16().await?)];
        stream.read_exact(&mut text).await?;
        let text = String::from_utf8_lossy(&text);
        ensure!(taken == 1, "the evidence counts for nothing there: {text}");
        tracing::info!(node, seen = %text, "a processor is carried on");
        Ok(stream)
    }
}
