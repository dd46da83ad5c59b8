//! The service, its nodes and its rules, as committed.

use std::collections::BTreeMap;

use coco_governance::attestation::{policy, snp_host_data, snp_tcb_versions};
use coco_governance::{
    CERTIFICATE_DAYS_MAX, Code, NodeRow, RecoveryRow, ServiceConfig, ServiceInfo, constitution as rules, tables,
};
use coco_kv::Snapshot;
use coco_types::{NodeId, TxId};
use serde_json::{Value, json as value};

use super::proposals::javascript;
use super::{Answer, Exchange, error, listing, unreadable};
use crate::endpoints::request::{json, with_transaction_id};

pub(super) fn constitution(state: &mut Snapshot, _names: &[String]) -> Answer {
    Ok(javascript(&rules::read(state).map_err(|error| unreadable(&error))?))
}

pub(super) fn info(exchange: &Exchange<'_>) -> Answer {
    let (txid, mut state) = exchange.gov.state(&exchange.caller);
    let service = ServiceInfo::read(&mut state).map_err(|error| unreadable(&error))?;
    let service = service.ok_or_else(|| error(Code::ResourceNotFound, "there is no service yet"))?;
    let config = ServiceConfig::read(&mut state).map_err(|error| unreadable(&error))?;
    let mut shown = value!({
        "status": service.status,
        "certificate": service.cert,
        "recoveryCount": service.recovery_count,
        "serviceData": Value::Null,
        "configuration": {
            "recoveryThreshold": config.recovery_threshold,
            "maximumNodeCertificateValidityDays":
                config.maximum_node_certificate_validity_days.unwrap_or(CERTIFICATE_DAYS_MAX),
            "maximumServiceCertificateValidityDays":
                config.maximum_service_certificate_validity_days.unwrap_or(CERTIFICATE_DAYS_MAX),
            "recentCoseProposalsWindowSize": config.proposals_window(),
        },
    });
    let created = service.current_service_create_txid.or_else(|| exchange.gov.created(&exchange.caller));
    if let Some(created) = created {
        shown["creationTransactionId"] = created.to_string().into();
    }
    if let Some(recovery) = RecoveryRow::read(&mut state).map_err(|error| unreadable(&error))? {
        shown["recoveredTo"] = recovery.recovered_to.to_string().into();
        shown["previousServiceCertificate"] = recovery.previous_service.into();
        if let Some(created) = recovery.previous_created {
            shown["previousServiceCreationTransactionId"] = created.to_string().into();
        }
    }
    Ok(with_transaction_id(json(&shown), txid))
}

pub(super) fn endorsements(state: &mut Snapshot, _names: &[String]) -> Answer {
    let rows = coco_governance::endorsements(state).map_err(|error| unreadable(&error))?;
    Ok(listing(&rows.iter().map(|row| value!(row)).collect::<Vec<_>>()))
}

pub(super) fn join_policy(state: &mut Snapshot, _names: &[String]) -> Answer {
    let policy = policy(state).map_err(|error| unreadable(&error))?;
    let (virtual_tee, snp) = (&policy.virtual_tee, &policy.sev_snp);
    let mut host_data: BTreeMap<String, Value> = snp.host_data.iter().map(|data| (data.clone(), "".into())).collect();
    host_data.extend(snp_host_data(state).map_err(|error| unreadable(&error))?);
    let mut endorsements: BTreeMap<&str, BTreeMap<&str, Value>> = BTreeMap::new();
    for endorser in &snp.endorsers {
        let svn = value!({"svn": endorser.min_svn.to_string()});
        endorsements.entry(&endorser.did).or_default().insert(&endorser.feed, svn);
    }
    let tcb_versions = snp_tcb_versions(state).map_err(|error| unreadable(&error))?;
    Ok(json(&value!({
        "sgx": {"measurements": policy.sgx.enclaves},
        "virtual": {"measurements": virtual_tee.measurements, "hostData": virtual_tee.host_data},
        "snp": {
            "measurements": snp.measurements,
            "hostData": host_data,
            "uvmEndorsements": endorsements,
            "tcbVersions": tcb_versions,
        },
        "tdx": {"images": policy.tdx.images},
        "vbs": {"modules": policy.vbs.modules},
    })))
}

pub(super) fn nodes(state: &mut Snapshot, _names: &[String]) -> Answer {
    let rows = NodeRow::all(state).map_err(|error| unreadable(&error))?;
    Ok(listing(&rows.iter().map(|row| node_json(state, row)).collect::<Vec<_>>()))
}

pub(super) fn node(state: &mut Snapshot, names: &[String]) -> Answer {
    let name = names.first().map(String::as_str).unwrap_or_default();
    let missing = || error(Code::ResourceNotFound, format!("there is no node {name}"));
    let id: NodeId = name.parse().map_err(|_| missing())?;
    let row = NodeRow::read(state, id).map_err(|error| unreadable(&error))?.ok_or_else(missing)?;
    Ok(json(&node_json(state, &row)))
}

pub(super) fn commit(exchange: &Exchange<'_>) -> Answer {
    let (txid, _) = exchange.gov.state(&exchange.caller);
    Ok(with_transaction_id(json(&value!({"status": "Committed", "transactionId": txid})), txid))
}

pub(super) fn transaction(exchange: &Exchange<'_>) -> Answer {
    let name = exchange.names.first().map(String::as_str).unwrap_or_default();
    let txid: TxId =
        name.parse().map_err(|why: coco_types::ParseError| error(Code::InvalidQueryParameterValue, why.to_string()))?;
    let status = exchange.gov.transaction_status(&exchange.caller, txid);
    Ok(with_transaction_id(json(&value!({"status": status, "transactionId": txid})), txid))
}

fn node_json(state: &Snapshot, row: &NodeRow) -> Value {
    let certificate = state.get(&tables::NODE_CERTS, row.id.to_string().as_bytes());
    let mut shown = value!({
        "nodeId": row.id,
        "status": row.info.status,
        "nodeData": row.info.node_data,
        "retiredCommitted": row.info.retired_committed,
        "quoteInfo": {"format": format_name(row), "evidence": row.info.quote_info},
        "rpcInterfaces": {"primary_rpc_interface": {"publishedAddress": row.info.addresses.api.to_string()}},
        "index": row.info.index,
    });
    if let Some(owner) = &row.info.owner {
        shown["owner"] = owner.clone().into();
    }
    if let Some(certificate) = certificate {
        shown["certificate"] = String::from_utf8_lossy(&certificate).into();
    }
    shown
}

/// CCF's name of the evidence's form, where it has one.
fn format_name(row: &NodeRow) -> String {
    match row.info.quote_info.kind.as_str() {
        "virtual" => "Insecure_Virtual".to_owned(),
        other => other.to_owned(),
    }
}
