//! The service: what its members configure, and how it opens.

use coco_kv::Tx;
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::rows::{ServiceInfo, ServiceStatus};
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
pub(crate) fn open_by_vote(tx: &mut Tx, previous: Option<&[u8]>, next: &[u8]) -> Result<(), Error> {
    let service = ServiceInfo::read(tx as &mut dyn Read)?;
    let mut service = service.ok_or_else(|| Error::NotOpened("there is no service".to_owned()))?;
    if next.trim_ascii() != service.cert.trim().as_bytes() {
        return Err(Error::NotOpened("the proposal names the identity of another service".to_owned()));
    }
    match service.status {
        ServiceStatus::Open | ServiceStatus::WaitingForRecoveryShares => return Ok(()),
        ServiceStatus::Opening if previous.is_some() => {
            return Err(Error::NotOpened("this service has no previous identity".to_owned()));
        }
        ServiceStatus::Opening => service.status = ServiceStatus::Open,
        ServiceStatus::Recovering => {
            return Err(Error::NotOpened("a recovering service cannot be opened in this version".to_owned()));
        }
    }
    tables::write(tx, &tables::SERVICE_INFO, &tables::SINGLETON, &service);
    Ok(())
}

/// Unix seconds of a time as X.509 writes it: `YYMMDDhhmmssZ` or `YYYYMMDDhhmmssZ`, the Z optional.
pub(crate) fn parse_time(text: &str) -> Option<u64> {
    let digits = text.strip_suffix('Z').unwrap_or(text);
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (year, rest) = match digits.len() {
        // RFC 5280 §4.1.2.5.1: 50 and above is of the past century.
        12 => {
            let year = digits.get(..2)?.parse::<u64>().ok()?;
            (if year < 50 { 2000 + year } else { 1900 + year }, digits.get(2..)?)
        }
        14 => (digits.get(..4)?.parse().ok()?, digits.get(4..)?),
        _ => return None,
    };
    let field = |at: usize| rest.get(at..at + 2).and_then(|text| text.parse::<u64>().ok());
    let (month, day, hour, minute, second) = (field(0)?, field(2)?, field(4)?, field(6)?, field(8)?);
    let in_range = (1970..=9999).contains(&year)
        && (1..=12).contains(&month)
        && (1..=days_in_month(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    in_range.then(|| ((days_before(year, month) + day - 1) * 24 + hour) * 3600 + minute * 60 + second)
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn days_in_month(year: u64, month: u64) -> u64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 => 28 + u64::from(is_leap(year)),
        _ => 31,
    }
}

/// Days from 1970-01-01 to the first of a month.
fn days_before(year: u64, month: u64) -> u64 {
    let years: u64 = (1970..year).map(|year| 365 + u64::from(is_leap(year))).sum();
    let months: u64 = (1..month).map(|month| days_in_month(year, month)).sum();
    years + months
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_both_forms_and_impossible_ones_are_not() {
        assert_eq!(parse_time("700101000000Z"), Some(0));
        assert_eq!(parse_time("19700101000000Z"), Some(0));
        assert_eq!(parse_time("20240229120000Z"), Some(1_709_208_000));
        assert_eq!(parse_time("240229120000"), Some(1_709_208_000));
        for bad in ["", "20230229120000Z", "20240230120000Z", "20241301000000Z", "2024-02-29", "20240229250000Z", "ä"]
        {
            assert_eq!(parse_time(bad), None, "{bad}");
        }
    }
}
