//! What there is of graphics cards in a program that was built without them: the answer that there are none.

use crate::adapter::{Adapter, NoAdapter};
use crate::backend::Backend;
use crate::model::{Model, Parameters};
use crate::scheduler::{Options, StartError};
use crate::tune::{Outcome, Session};

pub(crate) fn list() -> Vec<Adapter> {
    Vec::new()
}

pub(crate) fn check(_: &Parameters) -> Result<(), StartError> {
    Err(NoAdapter::NotBuilt.into())
}

pub(crate) fn start(_: Model, _: &Options, _: Option<&str>) -> Result<Box<dyn Backend>, StartError> {
    Err(NoAdapter::NotBuilt.into())
}

pub(crate) fn start_tuned(
    _: Model,
    _: &Options,
    _: Option<&str>,
    _: &mut Session<'_>,
) -> Result<(Box<dyn Backend>, Outcome), StartError> {
    Err(NoAdapter::NotBuilt.into())
}
