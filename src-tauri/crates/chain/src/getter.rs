//! Get-methods, run here on a state that was fetched. An endpoint that wants to lie has to lie about the whole account.

use num_bigint::BigInt;
use tycho_types::cell::{Cell as TychoCell, CellBuilder as TychoBuilder, HashBytes};
use tycho_types::dict::Dict;
use tycho_vm::{OwnedCellSlice, RcStackValue, SafeRc, Stack, VmCaller, VmGetterArgs};

use crate::account::AccountState;
use crate::cells::{self, CellsError};
use crate::config::ChainConfig;
use crate::emulation::state_of;
use crate::error::ChainError;
use crate::stack::StackValue;

/// Most values in an answer, those within tuples included.
const MOST_VALUES: usize = 4096;
/// Deepest tuples in tuples of an answer.
const DEEPEST: usize = 64;

/// What a get-method gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GetMethodResult {
    /// 0 or 1 if it ended well; 11 if the contract has no such method.
    pub exit_code: i32,
    /// Gas it took.
    pub gas_used: u64,
    /// The values it left, the top one last.
    pub stack: Vec<StackValue>,
}

impl GetMethodResult {
    /// Whether it ended well.
    pub fn succeeded(&self) -> bool {
        matches!(self.exit_code, 0 | 1)
    }
}

/// Runs a get-method on an account's state, at a time of the chain in Unix seconds.
pub fn run(
    account: &AccountState,
    config: &ChainConfig,
    now: u32,
    method: &str,
    arguments: &[StackValue],
) -> Result<GetMethodResult, ChainError> {
    let Some(state) = state_of(account, 0, ton::Nanoton(0)).map_err(|error| match error {
        CellsError::Opaque => ChainError::NoCode,
        other => ChainError::Nonsense(other.to_string()),
    })?
    else {
        return Err(ChainError::NoCode);
    };
    let mut stack = Vec::new();
    for argument in arguments {
        stack.push(to_machine(argument, 0).map_err(|error| ChainError::Question(error.to_string()))?);
    }
    let caller = VmCaller {
        libraries: Dict::new(),
        behaviour_modifiers: tycho_vm::BehaviourModifiers::default(),
        config: config.parsed().raw.params.clone(),
    };
    let mut settings = VmGetterArgs::default();
    settings.now = now;
    settings.rand_seed = HashBytes::ZERO;
    let output = caller.call_getter_ext(&state, method, stack, &settings, None).map_err(|error| match error {
        tycho_vm::VmGetterError::NoCode => ChainError::NoCode,
        tycho_vm::VmGetterError::InvalidConfig(other) => ChainError::Nonsense(other.to_string()),
    })?;
    if output.missing_library.is_some() {
        return Err(ChainError::NoCode);
    }
    let mut left = MOST_VALUES;
    let stack = output
        .stack
        .iter()
        .map(|value| from_machine(value, &mut left, 0))
        .collect::<Result<_, _>>()
        .map_err(|error| ChainError::Nonsense(error.to_string()))?;
    Ok(GetMethodResult { exit_code: output.exit_code, gas_used: output.gas_used, stack })
}

fn to_machine(value: &StackValue, depth: usize) -> Result<RcStackValue, CellsError> {
    if depth > DEEPEST {
        return Err(CellsError::TooDeep);
    }
    Ok(match value {
        StackValue::Null => Stack::make_null(),
        StackValue::Int(number) => RcStackValue::new_dyn_value(number.clone()),
        StackValue::Cell(cell) => RcStackValue::new_dyn_value(cells::to_tycho(cell)?),
        StackValue::Slice(cell) => {
            RcStackValue::new_dyn_value(OwnedCellSlice::new_allow_exotic(cells::to_tycho(cell)?))
        }
        StackValue::Tuple(values) => {
            let values = values.iter().map(|value| to_machine(value, depth + 1)).collect::<Result<Vec<_>, _>>()?;
            SafeRc::new(values).into_dyn_value()
        }
    })
}

fn from_machine(value: &RcStackValue, left: &mut usize, depth: usize) -> Result<StackValue, CellsError> {
    *left = left.checked_sub(1).ok_or(CellsError::TooMany)?;
    if depth > DEEPEST {
        return Err(CellsError::TooDeep);
    }
    if let Some(number) = value.as_int() {
        return Ok(StackValue::Int(BigInt::clone(number)));
    }
    if let Some(cell) = value.as_cell() {
        return Ok(StackValue::Cell(cells::from_tycho(cell)?));
    }
    if let Some(slice) = value.as_cell_slice() {
        return Ok(StackValue::Slice(cells::from_tycho(&rest_of(slice)?)?));
    }
    if let Some(values) = value.as_tuple() {
        let values = values.iter().map(|value| from_machine(value, left, depth + 1)).collect::<Result<_, _>>()?;
        return Ok(StackValue::Tuple(values));
    }
    // Null; builders and continuations mean nothing outside the machine.
    Ok(StackValue::Null)
}

fn rest_of(slice: &OwnedCellSlice) -> Result<TychoCell, CellsError> {
    let wrong = |error: tycho_types::error::Error| CellsError::Cell(error.to_string());
    let mut builder = TychoBuilder::new();
    builder.store_slice(slice.apply()).map_err(wrong)?;
    builder.build().map_err(wrong)
}
