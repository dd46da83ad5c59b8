//! The service: what its members configure, and how it opens.

use coco_kv::Tx;
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::rows::{ServiceInfo, ServiceStatus};
use crate::secrets::Order;
use crate::shares::{self, SharesRow};
use crate::tables::{self, Read};

/// Proposals are remembered this many deep against replays, unless the members say otherwise.
const PROPOSALS_WINDOW: usize = 100;
/// Certificates hold for a year at most, unless the members say otherwise.
pub const CERTIFICATE_DAYS_MAX: u64 = 365;

/// What members may configure, in CCF's names. Absent fields have the defaults.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ServiceConfig {
    #[serde(default)]
    pub recovery_threshold: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maximum_node_certificate_validity_days: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maximum_service_certificate_validity_days: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recent_cose_proposals_window_size: Option<usize>,
}

impl ServiceConfig {
    pub fn read(state: &mut dyn Read) -> Result<Self, Error> {
        Ok(tables::read(state, &tables::SERVICE_CONFIG, &tables::SINGLETON)?.unwrap_or_default())
    }

    pub fn proposals_window(&self) -> usize {
        self.recent_cose_proposals_window_size.unwrap_or(PROPOSALS_WINDOW).max(1)
    }
}

/// Opens the service, as a proposal that names its identity asks. Whoever votes for it must mean this service and no other.
pub(crate) fn open_by_vote(tx: &mut Tx, previous: Option<&[u8]>, next: &[u8]) -> Result<Option<Order>, Error> {
    let service = ServiceInfo::read(tx as &mut dyn Read)?;
    let mut service = service.ok_or_else(|| Error::NotOpened("there is no service".to_owned()))?;
    if next.trim_ascii() != service.cert.trim().as_bytes() {
        return Err(Error::NotOpened("the proposal names the identity of another service".to_owned()));
    }
    match service.status {
        ServiceStatus::Open | ServiceStatus::WaitingForRecoveryShares => return Ok(None),
        ServiceStatus::Opening if previous.is_some() => {
            return Err(Error::NotOpened("this service has no previous identity".to_owned()));
        }
        ServiceStatus::Opening => {
            shares::check(tx).map_err(|error| Error::NotOpened(error.to_string()))?;
            service.status = ServiceStatus::Open;
        }
        ServiceStatus::Recovering => {
            check_recovery(tx, previous)?;
            service.status = ServiceStatus::WaitingForRecoveryShares;
        }
    }
    tables::write(tx, &tables::SERVICE_INFO, &tables::SINGLETON, &service);
    Ok((service.status == ServiceStatus::Open).then_some(Order::Opened))
}

/// Whoever votes for a recovery must mean this ledger of this service.
fn check_recovery(tx: &mut Tx, previous: Option<&[u8]>) -> Result<(), Error> {
    let recorded = tables::read::<String>(tx, &tables::PREVIOUS_SERVICE_IDENTITY, &tables::SINGLETON)?;
    let recorded = recorded.unwrap_or_default();
    match previous {
        Some(previous) if previous.trim_ascii() == recorded.trim().as_bytes() => {}
        Some(_) => return Err(Error::NotOpened("another service than the one that is recovered".to_owned())),
        None => {
            let why = "a recovery is opened with the identity of the service before as well";
            return Err(Error::NotOpened(why.to_owned()));
        }
    }
    match SharesRow::read(tx)? {
        Some(_) => Ok(()),
        None => {
            Err(Error::NotOpened("the ledger has no recovery shares: nobody can open its private state".to_owned()))
        }
    }
}
