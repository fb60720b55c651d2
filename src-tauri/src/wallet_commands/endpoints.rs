//! The chain that the command line names.

use std::hash::{BuildHasher as _, Hasher as _};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use chain::Chain;
use chain::toncenter::policy::Patience;
use chain::toncenter::{Endpoint, Settings, Toncenter};
use ton::Network;

use crate::cli::ChainArguments;
use crate::named_file;

/// Longest key of an endpoint, in bytes.
const MOST_KEY: u64 = 4_096;
/// So many endpoints must show an account alike before money moves, where so many are named.
const AGREEMENT: usize = 2;

/// A client for these endpoints.
pub(super) fn chain(arguments: &ChainArguments) -> Result<Arc<dyn Chain>> {
    ensure!(!arguments.chain.is_empty(), "name the chain with --chain URL");
    let key = arguments.chain_token_file.as_deref().map(read_key).transpose()?;
    let endpoints = arguments.chain.iter().map(|url| Endpoint::new(url, key.as_deref()));
    let endpoints: Vec<Endpoint> = endpoints.collect::<Result<_, _>>().context("--chain")?;
    let settings = Settings {
        agreement: endpoints.len().min(AGREEMENT),
        endpoints,
        patience: Patience::default(),
        jitter: Arc::new(|| {
            let chance = std::hash::RandomState::new().build_hasher().finish();
            u16::try_from(chance % 1_001).unwrap_or_default()
        }),
    };
    Ok(Arc::new(Toncenter::new(settings).context("--chain")?))
}

/// The same, of the wallet's network. Older wallets have one address on the main and on the test network, so what is signed for the one may
/// be taken by the other.
pub(super) async fn chain_of(arguments: &ChainArguments, network: Network) -> Result<Arc<dyn Chain>> {
    let chain = chain(arguments)?;
    chain.expect_network(network).await.context("the chain")?;
    Ok(chain)
}

/// The chain, if one is named.
pub(super) fn chain_if_named(arguments: &ChainArguments) -> Result<Option<Arc<dyn Chain>>> {
    if arguments.chain.is_empty() { Ok(None) } else { chain(arguments).map(Some) }
}

fn read_key(path: &Path) -> Result<String> {
    let failed = || format!("the file {} with the endpoint's key can't be read", path.display());
    let text = named_file::text_or_pipe(path, MOST_KEY).with_context(failed)?;
    Ok(text.trim().to_owned())
}
