//! The arguments of a request, decoded one by one where they are used, so that an error names the argument.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::error::RpcError;

/// Positional arguments, still text.
#[derive(Debug, Default)]
pub struct Params<'a> {
    items: Vec<&'a RawValue>,
}

/// No method takes as many.
const ARGUMENTS_MAX: usize = 16;

impl<'a> Params<'a> {
    /// Absent, `null` and `[]` are the same; named arguments are not offered.
    pub fn parse(raw: Option<&'a RawValue>) -> Result<Self, RpcError> {
        let Some(text) = raw.map(RawValue::get).filter(|text| *text != "null") else { return Ok(Self::default()) };
        if !text.starts_with('[') {
            return Err(RpcError::invalid_params("non-array args"));
        }
        let items: Vec<&RawValue> =
            serde_json::from_str(text).map_err(|_| RpcError::invalid_params("arguments cannot be read"))?;
        if items.len() > ARGUMENTS_MAX {
            return Err(RpcError::invalid_params(format!("too many arguments, want at most {ARGUMENTS_MAX}")));
        }
        Ok(Self { items })
    }

    pub fn required<T: Deserialize<'a>>(&self, position: usize) -> Result<T, RpcError> {
        self.optional(position)?.ok_or_else(|| RpcError::missing_argument(position))
    }

    /// `None` if it is absent or `null`.
    pub fn optional<T: Deserialize<'a>>(&self, position: usize) -> Result<Option<T>, RpcError> {
        let Some(raw) = self.items.get(position) else { return Ok(None) };
        serde_json::from_str(raw.get()).map_err(|error| RpcError::invalid_argument(position, fault(&error)))
    }
}

/// The parser's complaint without its position, which counts inside one argument and would mislead.
fn fault(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rfind(" at line ") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<usize, RpcError> {
        let raw: &RawValue = serde_json::from_str(text).unwrap();
        Params::parse(Some(raw)).map(|params| params.items.len())
    }

    #[test]
    fn arguments_may_be_absent_null_or_a_list_but_not_named() {
        assert!(Params::parse(None).unwrap().items.is_empty());
        assert_eq!(parse("null"), Ok(0));
        assert_eq!(parse("[]"), Ok(0));
        assert_eq!(parse("[1, null]"), Ok(2));
        assert_eq!(parse("{}").unwrap_err().code, -32602);
        assert_eq!(parse("[0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0]").unwrap_err().code, -32602);
    }

    #[test]
    fn a_fault_names_its_argument() {
        let raw: &RawValue = serde_json::from_str("[true, null, 5]").unwrap();
        let params = Params::parse(Some(raw)).unwrap();
        assert_eq!(params.required::<bool>(0), Ok(true));
        assert_eq!(params.required::<bool>(1).unwrap_err().message, "missing value for required argument 1");
        assert_eq!(params.optional::<bool>(3), Ok(None));
        let message = params.required::<bool>(2).unwrap_err().message;
        assert_eq!(message, "invalid argument 2: invalid type: integer `5`, expected a boolean");
    }
}
