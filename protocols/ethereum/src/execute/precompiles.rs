//! The precompiled contracts of a network: those of its fork, and Coco's own.

use std::collections::BTreeMap;
use std::sync::Arc;

use alloy_primitives::map::AddressSet;
use alloy_primitives::{Address, B256, FixedBytes, address};
use revm::context_interface::{Cfg, ContextTr};
use revm::handler::{EthPrecompiles, PrecompileProvider};
use revm::interpreter::{CallInputs, InterpreterResult};
use revm::primitives::hardfork::SpecId;

use super::coco::{COCO, Coco, Told};

/// Recovers signers.
const ECRECOVER: Address = address!("0000000000000000000000000000000000000001");

/// Signatures (r, s, v) and whose they are taken for, on a developer's node.
pub type Forged = BTreeMap<FixedBytes<65>, Address>;

/// See the module's text.
#[derive(Clone, Debug)]
pub struct NetworkPrecompiles {
    usual: EthPrecompiles,
    pub coco: Option<Coco>,
    forged: Option<Arc<Forged>>,
}

impl NetworkPrecompiles {
    /// `told` is what Coco's own tells the transaction; without it there is none.
    pub fn new(spec: SpecId, told: Option<Told>) -> Self {
        Self { usual: EthPrecompiles::new(spec), coco: told.map(Coco::new), forged: None }
    }

    pub fn with_forged(self, forged: Option<Arc<Forged>>) -> Self {
        Self { forged, ..self }
    }

    pub fn has(&self, address: &Address) -> bool {
        self.usual.contains(address) || self.coco.is_some() && *address == COCO
    }

    /// Coco's own is not among them: it is no part of EIP-2929, and calling it costs what a call of any account costs.
    pub fn usual_addresses(&self) -> &AddressSet {
        self.usual.warm_addresses()
    }
}

/// Of an input of hash, v, r and s.
fn claimed(forged: &Forged, input: &[u8]) -> Option<Address> {
    let (v, rs) = (input.get(63)?, input.get(64..128)?);
    let signature: Vec<u8> = rs.iter().chain([v]).copied().collect();
    forged.get(&signature[..]).copied()
}

impl<C: ContextTr<Cfg: Cfg<Spec = SpecId>>> PrecompileProvider<C> for NetworkPrecompiles {
    type Output = InterpreterResult;

    fn set_spec(&mut self, spec: SpecId) -> bool {
        PrecompileProvider::<C>::set_spec(&mut self.usual, spec)
    }

    fn run(&mut self, context: &mut C, inputs: &CallInputs) -> Result<Option<InterpreterResult>, String> {
        match &mut self.coco {
            Some(coco) if inputs.bytecode_address == COCO => {
                let input = inputs.input.bytes(context);
                Ok(Some(coco.run(&input, inputs)))
            }
            _ => {
                let mut result = PrecompileProvider::<C>::run(&mut self.usual, context, inputs)?;
                if let (Some(forged), Some(result)) = (&self.forged, &mut result)
                    && inputs.bytecode_address == ECRECOVER
                    && result.result.is_ok()
                    && let Some(account) = claimed(forged, &inputs.input.bytes(context))
                {
                    result.output = B256::left_padding_from(account.as_slice()).into();
                }
                Ok(result)
            }
        }
    }

    fn warm_addresses(&self) -> &AddressSet {
        self.usual_addresses()
    }

    fn contains(&self, address: &Address) -> bool {
        self.has(address)
    }
}
