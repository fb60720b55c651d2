//! One transaction, executed. Shared by what is only tried out here and by a chain that means it, so that both cost the same.

use tycho_executor::{Executor, ExecutorInspector, ExecutorParams, ParsedConfig, TxError};
use tycho_types::cell::{Cell as TychoCell, HashBytes};
use tycho_types::models::{ShardAccount, StdAddr};

/// Where in the chain's time a transaction happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Unix seconds.
    pub now: u32,
    /// Logical time; the transaction's own is this or, if the account is further, the next after the account's.
    pub lt: u64,
    /// What the machine's chance is drawn from.
    pub seed: [u8; 32],
    /// Whether every signature passes: only to find out what something would cost.
    pub ignore_signatures: bool,
}

/// What came of it.
pub enum Executed {
    /// A transaction.
    Done {
        /// The account after it.
        state: ShardAccount,
        /// The transaction's cell.
        transaction: TychoCell,
        /// Messages that went out, in order.
        out_messages: Vec<TychoCell>,
        /// First logical time after it.
        next_lt: u64,
        /// A library that the code wanted and that is not there.
        missing_library: bool,
    },
    /// No transaction: the contract did not take a message from outside. With what its code ended, if it ran.
    NotAccepted {
        /// What the code ended with.
        exit_code: Option<i32>,
    },
}

/// Executes one message on one account. The error is a sentence: the message or the state is not what the chain has.
pub fn execute(
    config: &ParsedConfig,
    address: &StdAddr,
    external: bool,
    message: TychoCell,
    state: &ShardAccount,
    moment: Moment,
) -> Result<Executed, String> {
    // As TON's own nodes have it since version 11.
    let vm_modifiers = tycho_vm::BehaviourModifiers {
        chksig_always_succeed: moment.ignore_signatures,
        ..tycho_vm::BehaviourModifiers::default()
    };
    let params = ExecutorParams {
        vm_modifiers,
        block_unixtime: moment.now,
        block_lt: moment.lt,
        rand_seed: HashBytes(moment.seed),
        disable_delete_frozen_accounts: true,
        charge_action_fees_on_fail: true,
        full_body_in_bounced: false,
        strict_extra_currency: true,
        ..ExecutorParams::default()
    };
    let mut inspector = ExecutorInspector::default();
    let begun = Executor::new(&params, config).with_min_lt(moment.lt).begin_ordinary_ext(
        address,
        external,
        message,
        state,
        Some(&mut inspector),
    );
    match begun {
        Ok(begun) => {
            let output = begun.commit().map_err(|error| error.to_string())?;
            Ok(Executed::Done {
                state: output.new_state,
                transaction: output.transaction.inner().clone(),
                out_messages: output.transaction_meta.out_msgs.iter().map(|message| message.inner().clone()).collect(),
                next_lt: output.transaction_meta.next_lt,
                missing_library: inspector.missing_library.is_some(),
            })
        }
        Err(TxError::Skipped) => Ok(Executed::NotAccepted { exit_code: inspector.exit_code }),
        Err(TxError::Fatal(error)) => Err(format!("{error:#}")),
    }
}
