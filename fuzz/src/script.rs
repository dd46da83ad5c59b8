//! Scripts that call whatever the host offers, with hostile arguments: an input that has no grammar reaches all of it.

use std::fmt::Write;

const CALLS_MAX: usize = 32;

/// Each call: which, on which map, and how many bytes are its argument. The calls are expressions over `a` (the map's name, or the argument),
/// `b` and `c` (the argument as bytes).
pub fn script(calls: &[&str], maps: &[&str], mut rest: &[u8]) -> String {
    let mut script = String::new();
    for _ in 0..CALLS_MAX {
        let [which, map, length, after @ ..] = rest else { break };
        let (argument, after) = after.split_at(after.len().min(usize::from(*length)));
        let text: String = argument.iter().map(|byte| char::from(*byte)).collect();
        let name = match maps.get(usize::from(*map)) {
            Some(name) => (*name).to_owned(),
            None => text.clone(),
        };
        let call = calls[usize::from(*which) % calls.len()];
        let (name, text) = (serde_json::Value::from(name), serde_json::Value::from(text));
        let _ = write!(
            script,
            "try {{ const a = {name}; const c = Uint8Array.from({argument:?}).buffer; const b = ccf.strToBuf({text}); {call}; }} catch (e) {{ `${{e}}`; }}\n"
        );
        rest = after;
    }
    script
}
