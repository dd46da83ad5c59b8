//! Payloads and state values of the `sabre` family, and those of its agents that it reads.

use bytes::Bytes;

/// What is to be done, and the one part that says with what.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct SabrePayload {
    #[prost(int32, tag = "1")]
    pub action: i32,
    #[prost(message, optional, tag = "2")]
    pub create_contract: Option<CreateContract>,
    #[prost(message, optional, tag = "3")]
    pub delete_contract: Option<NameAndVersion>,
    #[prost(message, optional, tag = "4")]
    pub execute_contract: Option<ExecuteContract>,
    #[prost(message, optional, tag = "5")]
    pub create_contract_registry: Option<NameAndOwners>,
    #[prost(message, optional, tag = "6")]
    pub delete_contract_registry: Option<NameOnly>,
    #[prost(message, optional, tag = "7")]
    pub update_contract_registry_owners: Option<NameAndOwners>,
    #[prost(message, optional, tag = "8")]
    pub create_namespace_registry: Option<NameAndOwners>,
    #[prost(message, optional, tag = "9")]
    pub delete_namespace_registry: Option<NameOnly>,
    #[prost(message, optional, tag = "10")]
    pub update_namespace_registry_owners: Option<NameAndOwners>,
    #[prost(message, optional, tag = "11")]
    pub create_namespace_registry_permission: Option<CreatePermission>,
    /// A namespace and a contract's name.
    #[prost(message, optional, tag = "12")]
    pub delete_namespace_registry_permission: Option<NameAndVersion>,
    #[prost(message, optional, tag = "13")]
    pub create_smart_permission: Option<SmartPermission>,
    #[prost(message, optional, tag = "14")]
    pub update_smart_permission: Option<SmartPermission>,
    #[prost(message, optional, tag = "15")]
    pub delete_smart_permission: Option<SmartPermission>,
}

/// Values of [`SabrePayload::action`].
pub mod sabre_action {
    pub const CREATE_CONTRACT: i32 = 1;
    pub const DELETE_CONTRACT: i32 = 2;
    pub const EXECUTE_CONTRACT: i32 = 3;
    pub const CREATE_CONTRACT_REGISTRY: i32 = 4;
    pub const DELETE_CONTRACT_REGISTRY: i32 = 5;
    pub const UPDATE_CONTRACT_REGISTRY_OWNERS: i32 = 6;
    pub const CREATE_NAMESPACE_REGISTRY: i32 = 7;
    pub const DELETE_NAMESPACE_REGISTRY: i32 = 8;
    pub const UPDATE_NAMESPACE_REGISTRY_OWNERS: i32 = 9;
    pub const CREATE_NAMESPACE_REGISTRY_PERMISSION: i32 = 10;
    pub const DELETE_NAMESPACE_REGISTRY_PERMISSION: i32 = 11;
    pub const CREATE_SMART_PERMISSION: i32 = 12;
    pub const UPDATE_SMART_PERMISSION: i32 = 13;
    pub const DELETE_SMART_PERMISSION: i32 = 14;
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct CreateContract {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, tag = "2")]
    pub version: String,
    #[prost(string, repeated, tag = "3")]
    pub inputs: Vec<String>,
    #[prost(string, repeated, tag = "4")]
    pub outputs: Vec<String>,
    #[prost(bytes = "bytes", tag = "5")]
    pub contract: Bytes,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ExecuteContract {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, tag = "2")]
    pub version: String,
    #[prost(string, repeated, tag = "3")]
    pub inputs: Vec<String>,
    #[prost(string, repeated, tag = "4")]
    pub outputs: Vec<String>,
    #[prost(bytes = "bytes", tag = "5")]
    pub payload: Bytes,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct NameOnly {
    #[prost(string, tag = "1")]
    pub name: String,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct NameAndVersion {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, tag = "2")]
    pub version: String,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct NameAndOwners {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, repeated, tag = "2")]
    pub owners: Vec<String>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct CreatePermission {
    #[prost(string, tag = "1")]
    pub namespace: String,
    #[prost(string, tag = "2")]
    pub contract_name: String,
    #[prost(bool, tag = "3")]
    pub read: bool,
    #[prost(bool, tag = "4")]
    pub write: bool,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Contract {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, tag = "2")]
    pub version: String,
    #[prost(string, repeated, tag = "3")]
    pub inputs: Vec<String>,
    #[prost(string, repeated, tag = "4")]
    pub outputs: Vec<String>,
    #[prost(string, tag = "5")]
    pub creator: String,
    #[prost(bytes = "bytes", tag = "6")]
    pub contract: Bytes,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ContractList {
    #[prost(message, repeated, tag = "1")]
    pub contracts: Vec<Contract>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ContractVersion {
    #[prost(string, tag = "1")]
    pub version: String,
    #[prost(string, tag = "2")]
    pub contract_sha512: String,
    #[prost(string, tag = "3")]
    pub creator: String,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ContractRegistry {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(message, repeated, tag = "2")]
    pub versions: Vec<ContractVersion>,
    #[prost(string, repeated, tag = "3")]
    pub owners: Vec<String>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ContractRegistryList {
    #[prost(message, repeated, tag = "1")]
    pub registries: Vec<ContractRegistry>,
}

/// What a contract may do in a namespace.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Permission {
    #[prost(string, tag = "1")]
    pub contract_name: String,
    #[prost(bool, tag = "2")]
    pub read: bool,
    #[prost(bool, tag = "3")]
    pub write: bool,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct NamespaceRegistry {
    #[prost(string, tag = "1")]
    pub namespace: String,
    #[prost(string, repeated, tag = "2")]
    pub owners: Vec<String>,
    #[prost(message, repeated, tag = "3")]
    pub permissions: Vec<Permission>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct NamespaceRegistryList {
    #[prost(message, repeated, tag = "1")]
    pub registries: Vec<NamespaceRegistry>,
}

/// Code that a contract asks whether an organisation's agent may do something; in a payload without its function, one to be deleted.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct SmartPermission {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, tag = "2")]
    pub org_id: String,
    #[prost(bytes = "bytes", tag = "3")]
    pub function: Bytes,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct SmartPermissionList {
    #[prost(message, repeated, tag = "1")]
    pub smart_permissions: Vec<SmartPermission>,
}

/// Somebody who acts for an organisation, as the `pike` contract keeps it.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Agent {
    #[prost(string, tag = "1")]
    pub org_id: String,
    #[prost(string, tag = "2")]
    pub public_key: String,
    #[prost(bool, tag = "3")]
    pub active: bool,
    #[prost(string, repeated, tag = "4")]
    pub roles: Vec<String>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct AgentList {
    #[prost(message, repeated, tag = "1")]
    pub agents: Vec<Agent>,
}

/// Of an organisation only its id is of interest here.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct OrganizationList {
    #[prost(message, repeated, tag = "1")]
    pub organizations: Vec<NameOnly>,
}
