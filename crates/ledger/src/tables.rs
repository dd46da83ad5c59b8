//! The maps that the ledger itself writes, or reads to verify, by CCF's names. Singletons have the key [`K0`].

use coco_types::MapName;

/// The key of a map that holds one row.
pub const K0: [u8; 8] = [0; 8];

/// K0 -> JSON text: base64 of the service's COSE signature over the root.
pub const COSE_SIGNATURES: MapName = MapName::from_static("public:ccf.internal.cose_signatures");
/// K0 -> JSON: the node's signature over the root.
pub const SIGNATURES: MapName = MapName::from_static("public:ccf.internal.signatures");
/// K0 -> the Merkle tree's frontier.
pub const TREE: MapName = MapName::from_static("public:ccf.internal.tree");
/// K0 -> JSON text: the TxId that the primary knew to be committed when it signed.
pub const COMMITTED: MapName = MapName::from_static("public:ccf.gov.coco.committed");
/// K0 -> JSON {view, replica}: who leads this view. Written by the first transaction of each view.
pub const VIEW: MapName = MapName::from_static("public:ccf.gov.coco.view");

/// K0 -> JSON {cert, status, …}.
pub const SERVICE_INFO: MapName = MapName::from_static("public:ccf.gov.service.info");
/// Node id -> JSON {status, …}.
pub const NODES_INFO: MapName = MapName::from_static("public:ccf.gov.nodes.info");
/// Node id -> PEM.
pub const NODES_ENDORSED_CERTIFICATES: MapName = MapName::from_static("public:ccf.gov.nodes.endorsed_certificates");
