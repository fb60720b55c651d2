//! What there is of CUDA in a program that was built without it: the answer that there is none.

use crate::adapter::{Adapter, NoAdapter};
use crate::backend::Backend;
use crate::model::{Model, Parameters};
use crate::scheduler::{Options, StartError};
use crate::tune::{Outcome, Session};

/// There is nothing to be tested.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is nothing to be tested")]
pub struct SelfTestFault;

pub(crate) enum Opened {}

impl Opened {
    pub(crate) fn admit(&self, _: &Model, _: &Options) -> Result<(), StartError> {
        match *self {}
    }

    pub(crate) fn start(
        self,
        _: Model,
        _: &Options,
        _: Option<&mut Session<'_>>,
    ) -> Result<(Box<dyn Backend>, Option<Outcome>), StartError> {
        match self {}
    }
}

pub(crate) fn list() -> Result<Vec<Adapter>, String> {
    Err("this program was built without it".to_owned())
}

pub(crate) fn check(_: &Parameters) -> Result<(), StartError> {
    Err(NoAdapter::NotBuilt.into())
}

pub(crate) fn open(_: Option<&str>, _: &Model, _: Option<&mut Session<'_>>) -> Result<Opened, StartError> {
    Err(NoAdapter::NotBuilt.into())
}
