//! The precompiled contracts of a network: those of its fork, and Coco's own.

use alloy_primitives::Address;
use alloy_primitives::map::AddressSet;
use revm::context_interface::{Cfg, ContextTr};
use revm::handler::{EthPrecompiles, PrecompileProvider};
use revm::interpreter::{CallInputs, InterpreterResult};
use revm::primitives::hardfork::SpecId;

use super::coco::{COCO, Coco, Told};

/// See the module's text.
#[derive(Clone, Debug)]
pub struct NetworkPrecompiles {
    usual: EthPrecompiles,
    pub coco: Option<Coco>,
}

impl NetworkPrecompiles {
    /// `told` is what Coco's own tells the transaction; without it there is none.
    pub fn new(spec: SpecId, told: Option<Told>) -> Self {
        Self { usual: EthPrecompiles::new(spec), coco: told.map(Coco::new) }
    }

    pub fn has(&self, address: &Address) -> bool {
        self.usual.contains(address) || self.coco.is_some() && *address == COCO
    }

    /// Coco's own is not among them: it is no part of EIP-2929, and calling it costs what a call of any account costs.
    pub fn usual_addresses(&self) -> &AddressSet {
        self.usual.warm_addresses()
    }
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
            _ => PrecompileProvider::<C>::run(&mut self.usual, context, inputs),
        }
    }

    fn warm_addresses(&self) -> &AddressSet {
        self.usual_addresses()
    }

    fn contains(&self, address: &Address) -> bool {
        self.has(address)
    }
}
