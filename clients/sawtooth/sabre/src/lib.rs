//! Adds a number to the one at an address: the payload is the address, a comma, and what to add. It may not pass 1,000.

use sabre_sdk::{execute_entrypoint, ApplyError, TpProcessRequest, TransactionContext, WasmPtr};

const MOST: u64 = 1_000;

fn apply(request: &TpProcessRequest, context: &mut dyn TransactionContext) -> Result<bool, ApplyError> {
    let invalid = |why: &str| ApplyError::InvalidTransaction(why.to_owned());
    let text = std::str::from_utf8(request.get_payload()).map_err(|_| invalid("no text"))?;
    let (address, added) = text.split_once(',').ok_or_else(|| invalid("no comma"))?;
    let added: u64 = added.parse().map_err(|_| invalid("no number"))?;
    let before = context.get_state_entry(address)?.unwrap_or_default();
    let before: u64 = std::str::from_utf8(&before).ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    let sum = before.checked_add(added).filter(|sum| *sum <= MOST).ok_or_else(|| invalid("too much"))?;
    context.set_state_entry(address.to_owned(), sum.to_string().into_bytes())?;
    let attributes = vec![("sum".to_owned(), sum.to_string())];
    context.add_event("counter/added".to_owned(), attributes, request.get_header().get_signer_public_key().as_bytes())?;
    Ok(true)
}

/// # Safety
/// The host calls it with pointers of its own.
#[no_mangle]
pub unsafe fn entrypoint(payload: WasmPtr, signer: WasmPtr, signature: WasmPtr) -> i32 {
    execute_entrypoint(payload, signer, signature, apply)
}
