//! What the owner of a network tells its root contract.
//!
//! Every body is `op u32 | query id u64 | …`. Source: `messages.tlb` of the contracts.

use super::{BodyError, Op};
use crate::{Address, Cell, CellBuilder, CellError, CellSlice, Nanoton};

/// An operation of a network's owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RootOperation {
    /// Admit workers of this image hash.
    AddWorkerType([u8; 32]),
    /// No longer admit them.
    DelWorkerType([u8; 32]),
    /// Admit the model whose full name has this SHA-256.
    AddModelType([u8; 32]),
    /// No longer admit it.
    DelModelType([u8; 32]),
    /// Admit proxies of this image hash.
    AddProxyType([u8; 32]),
    /// No longer admit them.
    DelProxyType([u8; 32]),
    /// Enter a proxy under the next number: [`crate::RegisteredProxy::to_entry`].
    RegisterProxy(Cell),
    /// Take out the proxy with this number.
    UnregisterProxy(u32),
    /// Change a proxy's entry.
    UpdateProxy {
        /// Its number.
        seqno: u32,
        /// The new entry.
        entry: Cell,
    },
    /// Change what a token costs and earns.
    ChangeFees {
        /// What a client pays.
        price_per_token: Nanoton,
        /// What a worker gets.
        worker_fee_per_token: Nanoton,
    },
    /// Change prices, delays and stakes.
    ChangeParams {
        /// What a client pays.
        price_per_token: Nanoton,
        /// What a worker gets.
        worker_fee_per_token: Nanoton,
        /// Seconds until a proxy may close.
        proxy_delay_before_close: u32,
        /// Seconds until a client may close.
        client_delay_before_close: u32,
        /// Least stake of a proxy.
        min_proxy_stake: Nanoton,
        /// Least stake of a client.
        min_client_stake: Nanoton,
    },
    /// Other codes for new contracts.
    UpgradeContracts {
        /// Of proxies.
        proxy_code: Cell,
        /// Of workers.
        worker_code: Cell,
        /// Of clients.
        client_code: Cell,
    },
    /// Another code of the root contract.
    UpgradeCode(Cell),
    /// Empty all lists.
    Reset,
    /// Other data and code of the root contract.
    UpgradeFull {
        /// The data.
        data: Cell,
        /// The code.
        code: Cell,
    },
    /// Another owner.
    ChangeOwner(Address),
}

impl RootOperation {
    /// Its code.
    pub const fn op(&self) -> Op {
        match self {
            Self::AddWorkerType(_) => Op::RootAddWorkerType,
            Self::DelWorkerType(_) => Op::RootDelWorkerType,
            Self::AddModelType(_) => Op::RootAddModelType,
            Self::DelModelType(_) => Op::RootDelModelType,
            Self::AddProxyType(_) => Op::RootAddProxyType,
            Self::DelProxyType(_) => Op::RootDelProxyType,
            Self::RegisterProxy(_) => Op::RootRegisterProxy,
            Self::UnregisterProxy(_) => Op::RootUnregisterProxy,
            Self::UpdateProxy { .. } => Op::RootUpdateProxy,
            Self::ChangeFees { .. } => Op::RootChangeFees,
            Self::ChangeParams { .. } => Op::RootChangeParams,
            Self::UpgradeContracts { .. } => Op::RootUpgradeContracts,
            Self::UpgradeCode(_) => Op::RootUpgradeCode,
            Self::Reset => Op::RootReset,
            Self::UpgradeFull { .. } => Op::RootUpgradeFull,
            Self::ChangeOwner(_) => Op::RootChangeOwner,
        }
    }

    pub(super) fn write(&self, builder: CellBuilder) -> CellBuilder {
        match self {
            Self::AddWorkerType(hash)
            | Self::DelWorkerType(hash)
            | Self::AddModelType(hash)
            | Self::DelModelType(hash)
            | Self::AddProxyType(hash)
            | Self::DelProxyType(hash) => builder.bytes(hash),
            Self::RegisterProxy(entry) => builder.inline(entry),
            Self::UnregisterProxy(seqno) => builder.uint(u64::from(*seqno), 32),
            Self::UpdateProxy { seqno, entry } => builder.uint(u64::from(*seqno), 32).inline(entry),
            Self::ChangeFees { price_per_token, worker_fee_per_token } => {
                builder.amount(*price_per_token).amount(*worker_fee_per_token)
            }
            Self::ChangeParams {
                price_per_token,
                worker_fee_per_token,
                proxy_delay_before_close,
                client_delay_before_close,
                min_proxy_stake,
                min_client_stake,
            } => builder
                .amount(*price_per_token)
                .amount(*worker_fee_per_token)
                .uint(u64::from(*proxy_delay_before_close), 32)
                .uint(u64::from(*client_delay_before_close), 32)
                .amount(*min_proxy_stake)
                .amount(*min_client_stake),
            Self::UpgradeContracts { proxy_code, worker_code, client_code } => {
                builder.reference(proxy_code.clone()).reference(worker_code.clone()).reference(client_code.clone())
            }
            Self::UpgradeCode(code) => builder.reference(code.clone()),
            Self::Reset => builder,
            Self::UpgradeFull { data, code } => builder.reference(data.clone()).reference(code.clone()),
            Self::ChangeOwner(owner) => builder.address(owner),
        }
    }

    pub(super) fn read(op: Op, slice: &mut CellSlice<'_>) -> Result<Self, BodyError> {
        fn cell(slice: &mut CellSlice<'_>) -> Result<Cell, CellError> {
            Ok(slice.reference()?.clone())
        }
        Ok(match op {
            Op::RootAddWorkerType => Self::AddWorkerType(slice.bytes()?),
            Op::RootDelWorkerType => Self::DelWorkerType(slice.bytes()?),
            Op::RootAddModelType => Self::AddModelType(slice.bytes()?),
            Op::RootDelModelType => Self::DelModelType(slice.bytes()?),
            Op::RootAddProxyType => Self::AddProxyType(slice.bytes()?),
            Op::RootDelProxyType => Self::DelProxyType(slice.bytes()?),
            Op::RootRegisterProxy => Self::RegisterProxy(slice.rest()?),
            Op::RootUnregisterProxy => Self::UnregisterProxy(slice.uint(32)? as u32),
            Op::RootUpdateProxy => Self::UpdateProxy { seqno: slice.uint(32)? as u32, entry: slice.rest()? },
            Op::RootChangeFees => {
                Self::ChangeFees { price_per_token: slice.amount()?, worker_fee_per_token: slice.amount()? }
            }
            Op::RootChangeParams => Self::ChangeParams {
                price_per_token: slice.amount()?,
                worker_fee_per_token: slice.amount()?,
                proxy_delay_before_close: slice.uint(32)? as u32,
                client_delay_before_close: slice.uint(32)? as u32,
                min_proxy_stake: slice.amount()?,
                min_client_stake: slice.amount()?,
            },
            Op::RootUpgradeContracts => Self::UpgradeContracts {
                proxy_code: cell(slice)?,
                worker_code: cell(slice)?,
                client_code: cell(slice)?,
            },
            Op::RootUpgradeCode => Self::UpgradeCode(cell(slice)?),
            Op::RootReset => Self::Reset,
            Op::RootUpgradeFull => Self::UpgradeFull { data: cell(slice)?, code: cell(slice)? },
            Op::RootChangeOwner => Self::ChangeOwner(slice.address()?),
            op => return Err(BodyError::Misplaced { op }),
        })
    }
}
