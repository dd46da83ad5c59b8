//! Precompiled contracts, some of them at other addresses than usual: simulation may move them away to put code in their place.

use std::collections::BTreeMap;

use alloy_primitives::Address;
use alloy_primitives::map::AddressSet;
use revm::context_interface::{Cfg, ContextTr};
use revm::handler::PrecompileProvider;
use revm::interpreter::{CallInputs, InterpreterResult};
use revm::primitives::hardfork::SpecId;

use super::error::RpcError;
use crate::execute::{COCO, Coco, NetworkPrecompiles, Told};

/// The precompiles of one simulated block.
#[derive(Clone)]
pub struct MovedPrecompiles {
    usual: NetworkPrecompiles,
    /// Where they were moved to, and from.
    moved: BTreeMap<Address, Address>,
    /// Every address that has one now.
    addresses: AddressSet,
}

impl MovedPrecompiles {
    pub fn new(spec: SpecId, told: Option<Told>) -> Self {
        let usual = NetworkPrecompiles::new(spec, told);
        let mut addresses = usual.usual_addresses().clone();
        addresses.extend(usual.coco.as_ref().map(|_| COCO));
        Self { addresses, usual, moved: BTreeMap::new() }
    }

    /// The same for one transaction.
    pub fn telling(&self, told: Option<Told>) -> Self {
        let mut precompiles = self.clone();
        precompiles.usual.coco = told.map(Coco::new);
        precompiles
    }

    /// An account is overridden: a precompile in its place is gone, or moves to `destination`.
    pub fn override_account(&mut self, address: &Address, destination: Option<Address>) -> Result<(), RpcError> {
        let was_precompile = self.usual.has(address) && self.addresses.remove(address);
        let Some(destination) = destination else { return Ok(()) };
        if !was_precompile {
            return Err(RpcError::server(format!("account {address} is not a precompile")));
        }
        if destination == *address {
            return Err(RpcError::new(-38022, format!("precompile {address} is moved to itself")));
        }
        if self.moved.insert(destination, *address).is_some() {
            return Err(RpcError::new(-38023, format!("two precompiles are moved to {destination}")));
        }
        self.addresses.insert(destination);
        Ok(())
    }
}

impl<C: ContextTr<Cfg: Cfg<Spec = SpecId>>> PrecompileProvider<C> for MovedPrecompiles {
    type Output = InterpreterResult;

    /// The rules of a block do not change while it is simulated.
    fn set_spec(&mut self, _: SpecId) -> bool {
        false
    }

    fn run(&mut self, context: &mut C, inputs: &CallInputs) -> Result<Option<InterpreterResult>, String> {
        if let Some(usual) = self.moved.get(&inputs.bytecode_address) {
            let mut inputs = inputs.clone();
            inputs.bytecode_address = *usual;
            return PrecompileProvider::<C>::run(&mut self.usual, context, &inputs);
        }
        match self.addresses.contains(&inputs.bytecode_address) {
            true => PrecompileProvider::<C>::run(&mut self.usual, context, inputs),
            false => Ok(None),
        }
    }

    /// Those of the rules: where one was moved to stays cold, as other clients have it.
    fn warm_addresses(&self) -> &AddressSet {
        self.usual.usual_addresses()
    }

    fn contains(&self, address: &Address) -> bool {
        self.addresses.contains(address)
    }
}
