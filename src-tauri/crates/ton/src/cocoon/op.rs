//! What a message is about: its first 32 bits.

/// An operation of Cocoon's contracts. Sources: Opcodes.hpp of the genuine programs and `messages.tlb` of the contracts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Op {
    /// A text; the proxy's contract takes `c` for close and `w` for withdraw from its owner, Cocoon's hot wallet `w`, `b` and `u`.
    Comment = 0x0000_0000,
    /// What was left of the attached money comes back.
    Excesses = 0x2565_934c,
    /// Money of a contract to its owner.
    Payout = 0xc59a_7cd3,
    /// A note that contracts leave alone.
    DoNotProcess = 0x9a12_47c0,
    /// The note of a proxy that it has saved its state.
    ProxySaveState = 0x5310_9c0f,
    /// A worker's contract to its proxy's.
    WorkerProxyRequest = 0x4d72_5d2c,
    /// Payload of it: pay the worker's owner.
    WorkerProxyPayoutRequest = 0x08e7_d036,
    /// A client's contract to its proxy's.
    ClientProxyRequest = 0x6544_8ff4,
    /// Payload of it: money was added.
    ClientProxyTopUp = 0x5cfc_6b87,
    /// Payload of it: the client has shown itself.
    ClientProxyRegister = 0xa35c_b580,
    /// Payload of it: pay back, as the proxy granted or the stake allows.
    ClientProxyRefundGranted = 0xc68e_bc7b,
    /// Payload of it: pay back although the proxy did not answer.
    ClientProxyRefundForce = 0xf4c3_54c9,
    /// A signed payment to a worker.
    WorkerPayoutSigned = 0xa040_ad28,
    /// The same, and the worker's contract closes.
    WorkerLastPayoutSigned = 0xf5f2_6a36,
    /// A signed charge of a client.
    ClientChargeSigned = 0xbb63_ff93,
    /// A signed last charge of a client, which gets the rest back.
    ClientGrantRefundSigned = 0xefd7_11e1,
    /// The proxy begins to close its contract.
    ProxyCloseRequestSigned = 0x636a_4391,
    /// The proxy closes its contract for good.
    ProxyCloseCompleteRequestSigned = 0xe511_abc7,
    /// Pay the proxy's owner what the proxy has earned.
    ProxyPayoutRequest = 0x7610_e6eb,
    /// Add to the proxy's stake.
    ProxyIncreaseStake = 0x9713_f187,
    /// The proxy's owner begins to close its contract.
    OwnerProxyClose = 0xb51d_5a01,
    /// The worker's owner shows itself.
    OwnerWorkerRegister = 0x26ed_7f65,
    /// The client's owner shows itself to the proxy.
    OwnerClientRegister = 0xc45f_9f3b,
    /// The client's owner changes the secret.
    OwnerClientChangeSecretHash = 0xa935_7034,
    /// Both at once.
    OwnerClientChangeSecretHashAndTopUp = 0x8473_b408,
    /// Add to the client's balance.
    ClientTopUp = 0xf172_e6c2,
    /// Add to the balance of a client that was closing.
    OwnerClientTopUpReopen = 0x2911_1ceb,
    /// Raise the client's stake.
    OwnerClientIncreaseStake = 0x6a1f_6a60,
    /// The client's owner wants the balance back: begins to close, and after the delay closes.
    OwnerClientRequestRefund = 0xfafa_6cc1,
    /// The client's owner takes what is above the stake.
    OwnerClientWithdraw = 0xda06_8e78,
    /// The owner of Cocoon's hot wallet sends a message with its money.
    OwnerWalletSendMessage = 0x9c69_f376,
    /// Admit workers of an image.
    RootAddWorkerType = 0xe34b_1c60,
    /// No longer admit them.
    RootDelWorkerType = 0x8d94_a79a,
    /// Admit a model.
    RootAddModelType = 0xc146_134d,
    /// No longer admit it.
    RootDelModelType = 0x92b1_1c18,
    /// Admit proxies of an image.
    RootAddProxyType = 0x7186_0e80,
    /// No longer admit them.
    RootDelProxyType = 0x3c41_d0b2,
    /// Enter a proxy's endpoints.
    RootRegisterProxy = 0x927c_7cb5,
    /// Take a proxy out.
    RootUnregisterProxy = 0x6d49_eaf2,
    /// Change a proxy's endpoints.
    RootUpdateProxy = 0x9c79_24ba,
    /// Change price and fee.
    RootChangeFees = 0xc52e_d8d4,
    /// Change price, fee, delays and stakes.
    RootChangeParams = 0x022f_a189,
    /// Change all parameters; the layout of this one is not documented.
    RootChangeParamsFull = 0x9f1e_69dc,
    /// Change the codes of new contracts.
    RootUpgradeContracts = 0xa237_0f61,
    /// Change the root contract's code.
    RootUpgradeCode = 0x11ae_fd51,
    /// Empty all lists.
    RootReset = 0x563c_1d96,
    /// Change the root contract's data and code.
    RootUpgradeFull = 0x4f7c_5789,
    /// Another owner of the network.
    RootChangeOwner = 0xc4a1_ae54,
}

impl Op {
    /// All of them.
    pub const ALL: &[Self] = &[
        Self::Comment,
        Self::Excesses,
        Self::Payout,
        Self::DoNotProcess,
        Self::ProxySaveState,
        Self::WorkerProxyRequest,
        Self::WorkerProxyPayoutRequest,
        Self::ClientProxyRequest,
        Self::ClientProxyTopUp,
        Self::ClientProxyRegister,
        Self::ClientProxyRefundGranted,
        Self::ClientProxyRefundForce,
        Self::WorkerPayoutSigned,
        Self::WorkerLastPayoutSigned,
        Self::ClientChargeSigned,
        Self::ClientGrantRefundSigned,
        Self::ProxyCloseRequestSigned,
        Self::ProxyCloseCompleteRequestSigned,
        Self::ProxyPayoutRequest,
        Self::ProxyIncreaseStake,
        Self::OwnerProxyClose,
        Self::OwnerWorkerRegister,
        Self::OwnerClientRegister,
        Self::OwnerClientChangeSecretHash,
        Self::OwnerClientChangeSecretHashAndTopUp,
        Self::ClientTopUp,
        Self::OwnerClientTopUpReopen,
        Self::OwnerClientIncreaseStake,
        Self::OwnerClientRequestRefund,
        Self::OwnerClientWithdraw,
        Self::OwnerWalletSendMessage,
        Self::RootAddWorkerType,
        Self::RootDelWorkerType,
        Self::RootAddModelType,
        Self::RootDelModelType,
        Self::RootAddProxyType,
        Self::RootDelProxyType,
        Self::RootRegisterProxy,
        Self::RootUnregisterProxy,
        Self::RootUpdateProxy,
        Self::RootChangeFees,
        Self::RootChangeParams,
        Self::RootChangeParamsFull,
        Self::RootUpgradeContracts,
        Self::RootUpgradeCode,
        Self::RootReset,
        Self::RootUpgradeFull,
        Self::RootChangeOwner,
    ];

    /// The 32 bits.
    pub const fn code(self) -> u32 {
        self as u32
    }

    /// The operation with this code; `None` if none is known.
    pub fn from_code(code: u32) -> Option<Self> {
        Self::ALL.iter().copied().find(|op| op.code() == code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_operation_has_a_code_of_its_own_and_is_found_by_it() {
        let codes: HashSet<u32> = Op::ALL.iter().map(|op| op.code()).collect();
        assert_eq!(codes.len(), Op::ALL.len());
        for op in Op::ALL {
            assert_eq!(Op::from_code(op.code()), Some(*op));
        }
        assert_eq!(Op::from_code(0xffff_ffff), None);
    }
}
