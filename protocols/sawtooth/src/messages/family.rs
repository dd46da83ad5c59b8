//! Payloads and state values of the built-in families.

use bytes::Bytes;

/// A setting's row: several keys may share an address.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Setting {
    #[prost(message, repeated, tag = "1")]
    pub entries: Vec<SettingEntry>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct SettingEntry {
    #[prost(string, tag = "1")]
    pub key: String,
    #[prost(string, tag = "2")]
    pub value: String,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct SettingsPayload {
    #[prost(int32, tag = "1")]
    pub action: i32,
    #[prost(bytes = "bytes", tag = "2")]
    pub data: Bytes,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct SettingProposal {
    #[prost(string, tag = "1")]
    pub setting: String,
    #[prost(string, tag = "2")]
    pub value: String,
    #[prost(string, tag = "3")]
    pub nonce: String,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct SettingVote {
    #[prost(string, tag = "1")]
    pub proposal_id: String,
    #[prost(int32, tag = "2")]
    pub vote: i32,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct SettingCandidate {
    #[prost(string, tag = "1")]
    pub proposal_id: String,
    #[prost(message, optional, tag = "2")]
    pub proposal: Option<SettingProposal>,
    #[prost(message, repeated, tag = "3")]
    pub votes: Vec<VoteRecord>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct VoteRecord {
    #[prost(string, tag = "1")]
    pub public_key: String,
    #[prost(int32, tag = "2")]
    pub vote: i32,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct SettingCandidates {
    #[prost(message, repeated, tag = "1")]
    pub candidates: Vec<SettingCandidate>,
}

/// A payload of the identity family: what it sets, and the policy or role.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct IdentityPayload {
    #[prost(int32, tag = "1")]
    pub kind: i32,
    #[prost(bytes = "bytes", tag = "2")]
    pub data: Bytes,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Policy {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(message, repeated, tag = "2")]
    pub entries: Vec<PolicyEntry>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct PolicyEntry {
    #[prost(int32, tag = "1")]
    pub kind: i32,
    #[prost(string, tag = "2")]
    pub key: String,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct PolicyList {
    #[prost(message, repeated, tag = "1")]
    pub policies: Vec<Policy>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Role {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, tag = "2")]
    pub policy_name: String,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct RoleList {
    #[prost(message, repeated, tag = "1")]
    pub roles: Vec<Role>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct BlockInfoConfig {
    #[prost(uint64, tag = "1")]
    pub latest_block: u64,
    #[prost(uint64, tag = "2")]
    pub oldest_block: u64,
    #[prost(uint64, tag = "3")]
    pub target_count: u64,
    #[prost(uint64, tag = "4")]
    pub sync_tolerance: u64,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct BlockInfo {
    #[prost(uint64, tag = "1")]
    pub block_num: u64,
    #[prost(string, tag = "2")]
    pub previous_block_id: String,
    #[prost(string, tag = "3")]
    pub signer_public_key: String,
    #[prost(string, tag = "4")]
    pub header_signature: String,
    #[prost(uint64, tag = "5")]
    pub timestamp: u64,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct BlockInfoTxn {
    #[prost(message, optional, tag = "1")]
    pub block: Option<BlockInfo>,
    #[prost(uint64, tag = "2")]
    pub target_count: u64,
    #[prost(uint64, tag = "3")]
    pub sync_tolerance: u64,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct SmallbankPayload {
    #[prost(int32, tag = "1")]
    pub kind: i32,
    #[prost(message, optional, tag = "2")]
    pub create_account: Option<CreateAccount>,
    #[prost(message, optional, tag = "3")]
    pub deposit_checking: Option<CustomerAmount>,
    #[prost(message, optional, tag = "4")]
    pub write_check: Option<CustomerAmount>,
    #[prost(message, optional, tag = "5")]
    pub transact_savings: Option<CustomerChange>,
    #[prost(message, optional, tag = "6")]
    pub send_payment: Option<SendPayment>,
    #[prost(message, optional, tag = "7")]
    pub amalgamate: Option<Amalgamate>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct CreateAccount {
    #[prost(uint32, tag = "1")]
    pub customer_id: u32,
    #[prost(string, tag = "2")]
    pub customer_name: String,
    #[prost(uint32, tag = "3")]
    pub initial_savings_balance: u32,
    #[prost(uint32, tag = "4")]
    pub initial_checking_balance: u32,
}

/// A deposit, and a check.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct CustomerAmount {
    #[prost(uint32, tag = "1")]
    pub customer_id: u32,
    #[prost(uint32, tag = "2")]
    pub amount: u32,
}

/// A change of savings, up or down.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct CustomerChange {
    #[prost(uint32, tag = "1")]
    pub customer_id: u32,
    #[prost(int32, tag = "2")]
    pub amount: i32,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct SendPayment {
    #[prost(uint32, tag = "1")]
    pub source_customer_id: u32,
    #[prost(uint32, tag = "2")]
    pub dest_customer_id: u32,
    #[prost(uint32, tag = "3")]
    pub amount: u32,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Amalgamate {
    #[prost(uint32, tag = "1")]
    pub source_customer_id: u32,
    #[prost(uint32, tag = "2")]
    pub dest_customer_id: u32,
}

/// A smallbank account, in cents.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Account {
    #[prost(uint32, tag = "1")]
    pub customer_id: u32,
    #[prost(string, tag = "2")]
    pub customer_name: String,
    #[prost(uint32, tag = "3")]
    pub savings_balance: u32,
    #[prost(uint32, tag = "4")]
    pub checking_balance: u32,
}
