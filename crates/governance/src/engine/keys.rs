//! Checks of keys and certificates, and how `apply` opens the service.

use std::rc::Rc;

use coco_crypto::{EncryptionKey, ForeignCertificate, decode_pem, sha256};
use coco_types::Seqno;
use rquickjs::{Ctx, Exception, Object, Result};

use super::budget::{Budget, STEP_BYTES};
use super::host::{Binary, add, pay};
use super::throw;
use super::world::World;
use crate::certificates::{Endorsing, Period};
use crate::grant::GrantOrder;
use crate::jwt;
use crate::rotation;
use crate::secrets::{self, Order};
use crate::service;

const CERTIFICATE: &str = "CERTIFICATE";
/// Certificates in a bundle or chain: more are not read.
const CERTIFICATES_MAX: usize = 50;

/// Reading a certificate and checking its signature, for each byte of PEM.
const CERTIFICATE_COST: usize = 64;
/// Reading a key, for each byte.
const KEY_COST: usize = 16;

pub(crate) fn natives<'js>(ctx: &Ctx<'js>, to: &Object<'js>, budget: &Rc<Budget>) -> Result<()> {
    let b = budget.clone();
    add(ctx, to, "pemToId", move |ctx: Ctx<'js>, pem: String| -> Result<String> {
        pay(&ctx, &b, pem.len())?;
        let der = decode_pem(CERTIFICATE, &pem);
        der.map(|der| sha256(&der).to_string()).map_err(|error| Exception::throw_type(&ctx, &error.to_string()))
    })?;
    let b = budget.clone();
    add(ctx, to, "isEncryptionKey", move |ctx: Ctx<'js>, pem: String| -> Result<bool> {
        pay(&ctx, &b, pem.len() * KEY_COST)?;
        Ok(EncryptionKey::from_pem(&pem).is_ok())
    })?;
    let b = budget.clone();
    add(ctx, to, "jwksProblem", move |ctx: Ctx<'js>, jwks: String| -> Result<Option<String>> {
        pay(&ctx, &b, jwks.len() * KEY_COST)?;
        Ok(jwt::check_keys(&jwks).err().map(|error| error.to_string()))
    })?;
    let b = budget.clone();
    add(ctx, to, "isCertificateBundle", move |ctx: Ctx<'js>, pem: String| -> Result<bool> {
        pay(&ctx, &b, pem.len() * KEY_COST)?;
        Ok(bundle(&pem).is_some())
    })?;
    let b = budget.clone();
    add(ctx, to, "isCertificateChain", move |ctx: Ctx<'js>, chain: String, trusted: String| -> Result<bool> {
        pay(&ctx, &b, (chain.len() + trusted.len()) * CERTIFICATE_COST)?;
        Ok(is_chain(&chain, &trusted))
    })
}

pub(crate) fn service_natives<'js>(
    ctx: &Ctx<'js>,
    to: &Object<'js>,
    world: &Rc<World>,
    budget: &Rc<Budget>,
) -> Result<()> {
    let w = world.clone();
    add(ctx, to, "openService", move |ctx: Ctx<'js>, next: Binary, previous: Option<Binary>| -> Result<()> {
        let previous = previous.as_ref().map(|previous| previous.0.as_slice());
        let opened = service::open_by_vote(&mut w.tx.borrow_mut(), previous, &next.0);
        let order = opened.map_err(|error| throw(&ctx, &error.to_string()))?;
        order.into_iter().for_each(|order| w.order(order));
        Ok(())
    })?;
    let (w, b) = (world.clone(), budget.clone());
    add(ctx, to, "setJwtKeys", move |ctx: Ctx<'js>, issuer: String, jwks: String| -> Result<()> {
        pay(&ctx, &b, STEP_BYTES + jwks.len() * KEY_COST)?;
        let set = jwt::set_keys(&mut w.tx.borrow_mut(), &issuer, &jwks);
        set.map_err(|error| throw(&ctx, &error.to_string()))
    })?;
    let (w, b) = (world.clone(), budget.clone());
    add(ctx, to, "removeJwtKeys", move |ctx: Ctx<'js>, issuer: String| -> Result<()> {
        pay(&ctx, &b, STEP_BYTES)?;
        let removed = jwt::remove_keys(&mut w.tx.borrow_mut(), &issuer);
        removed.map_err(|error| throw(&ctx, &error.to_string()))
    })?;
    let w = world.clone();
    add(ctx, to, "rekey", move |ctx: Ctx<'js>| -> Result<()> {
        let allowed = secrets::check_may_rekey(&mut *w.tx.borrow_mut());
        allowed.map_err(|error| throw(&ctx, &error.to_string()))?;
        w.order(Order::Rekey);
        Ok(())
    })?;
    let w = world.clone();
    add(ctx, to, "reshare", move |ctx: Ctx<'js>| -> Result<()> {
        let allowed = secrets::check_may_rekey(&mut *w.tx.borrow_mut());
        allowed.map_err(|error| throw(&ctx, &error.to_string()))?;
        w.order(Order::Reshare);
        Ok(())
    })?;
    let w = world.clone();
    add(ctx, to, "rotateService", move |ctx: Ctx<'js>| -> Result<()> {
        let allowed = rotation::check(&mut *w.tx.borrow_mut());
        allowed.map_err(|error| throw(&ctx, &error.to_string()))?;
        w.order(Order::Rotate);
        Ok(())
    })?;
    let w = world.clone();
    add(ctx, to, "renewService", move |from: f64, days: f64| w.order(Order::RenewService(period(from, days))))?;
    let w = world.clone();
    add(ctx, to, "renewNodes", move |node: Option<String>, from: f64, days: f64| {
        w.order(Order::RenewNodes { node, period: period(from, days) });
    })?;
    let (w, b) = (world.clone(), budget.clone());
    add(ctx, to, "endorse", move |ctx: Ctx<'js>, request: String, from: f64, days: f64| -> Result<String> {
        pay(&ctx, &b, STEP_BYTES + request.len() * CERTIFICATE_COST)?;
        let endorsing = Endorsing::new(&mut *w.tx.borrow_mut(), &request, period(from, days));
        let endorsing = endorsing.map_err(|error| throw(&ctx, &error.to_string()))?;
        let placeholder = endorsing.placeholder();
        w.order(Order::Endorse(endorsing));
        Ok(placeholder)
    })?;
    let w = world.clone();
    add(ctx, to, "endChunk", move || w.order(Order::EndChunk))?;
    let w = world.clone();
    add(ctx, to, "snapshot", move || w.order(Order::Snapshot))?;
    let w = world.clone();
    add(ctx, to, "grantEpoch", move |ctx: Ctx<'js>, at: f64, key: String| -> Result<()> {
        // Whole and in range: the constitution has checked it, and what is not becomes no epoch.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let order = GrantOrder::new(&mut *w.tx.borrow_mut(), Seqno(at as u64), &key);
        w.order(Order::Grant(order.map_err(|error| throw(&ctx, &error.to_string()))?));
        Ok(())
    })?;
    let w = world.clone();
    add(ctx, to, "secretSeqno", move |ctx: Ctx<'js>| -> Result<f64> {
        let version = secrets::newest_version(&mut *w.tx.borrow_mut());
        // A seqno beyond 2^53 is out of reach.
        #[allow(clippy::cast_precision_loss)]
        version.map(|version| version.0 as f64).map_err(|error| throw(&ctx, &error.to_string()))
    })
}

/// Whole and in range: the constitution has checked both.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn period(from_s: f64, days: f64) -> Period {
    Period { from_s: from_s as u64, days: days as u64 }
}

/// Every certificate of a PEM text, or nothing if any of it is something else.
fn bundle(text: &str) -> Option<Vec<ForeignCertificate>> {
    const END: &str = "-----END CERTIFICATE-----";
    let mut certificates = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let end = rest.find(END)? + END.len();
        certificates.push(ForeignCertificate::from_pem(rest.get(..end)?).ok()?);
        if certificates.len() > CERTIFICATES_MAX {
            return None;
        }
        rest = rest.get(end..)?.trim();
    }
    (!certificates.is_empty()).then_some(certificates)
}

/// Whether each certificate is signed by the next, and the last by a trusted one or is one.
fn is_chain(chain: &str, trusted: &str) -> bool {
    let (Some(chain), Some(trusted)) = (bundle(chain), bundle(trusted)) else { return false };
    let linked = chain.windows(2).all(|pair| pair[0].check_issued_by(&pair[1]).is_ok());
    let anchored =
        |last: &ForeignCertificate| trusted.iter().any(|anchor| anchor == last || last.check_issued_by(anchor).is_ok());
    linked && chain.last().is_some_and(anchored)
}
