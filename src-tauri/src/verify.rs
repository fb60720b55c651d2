//! `chrysalis verify`: what a proof proves, computed anew from the evidence in it.

use std::io::{self, Write};
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use evidence::{Grade, ImageHash, Policy};
use node::doctor::stated;
use node::proof_file::{Findings, LIMIT, ProofFile, Verifier};
use serde_json::{Value, json};

use crate::cli::VerifyArguments;
use crate::named_file;
use crate::printable;
use crate::provider::{read_network_text, unix_ms};

/// Reads, verifies and prints. `Err` is also that it does not prove what it claims.
pub(crate) fn run(arguments: &VerifyArguments) -> Result<()> {
    let verifier = verifier(arguments)?;
    let proof = read(&arguments.file)?;
    let findings = proof.verify(&verifier).with_context(|| format!("the file {}", arguments.file.display()))?;
    let mut out = io::stdout().lock();
    if arguments.json {
        writeln!(out, "{}", as_object(&findings))?;
    } else {
        write(&mut out, &proof, &findings)?;
    }
    out.flush()?;
    if !findings.is_as_claimed() {
        match &findings.found {
            Ok(_) if !findings.still_counts => {
                bail!("the proof claims {} and does not count any more", findings.claimed)
            }
            Ok(appraisal) => bail!("the proof claims {} and proves {}", findings.claimed, appraisal.grade),
            Err(refused) => bail!("the proof claims {} and its evidence is refused: {refused}", findings.claimed),
        }
    }
    Ok(())
}

fn verifier(arguments: &VerifyArguments) -> Result<Verifier> {
    // Whoever verifies says whom to believe; what the file says about that counts for nothing.
    let mut registrars = arguments.registrar.clone();
    let mut policy = Policy::accepting(Grade::ALL);
    for path in &arguments.network {
        let said = stated(&read_network_text(path)?).with_context(|| format!("the network file {}", path.display()))?;
        if let Some(said) = said {
            registrars.extend(said.registrars.iter().map(|registrar| registrar.key));
            policy.images.extend(said.policy.images);
            policy.also_accepted_firmware.extend(said.policy.also_accepted_firmware);
        }
    }
    for image in &arguments.image {
        policy.images.insert(ImageHash(*image));
    }
    Ok(Verifier {
        now: u64::try_from(unix_ms() / 1000).unwrap_or_default(),
        registrars,
        policy,
        nonce: arguments.nonce,
    })
}

fn read(path: &Path) -> Result<ProofFile> {
    let failed = || format!("the file {} can't be used as a proof", path.display());
    let bytes = named_file::bytes_or_pipe(path, LIMIT as u64).with_context(failed)?;
    ProofFile::read(&bytes).with_context(failed)
}

fn as_object(findings: &Findings) -> Value {
    json!({
        "as_claimed": findings.is_as_claimed(),
        "claimed": findings.claimed.name(),
        "proved": findings.found.as_ref().ok().map(|appraisal| appraisal.grade.name()),
        "refused": findings.found.as_ref().err().map(ToString::to_string),
        "facts": findings.found.as_ref().ok().map(|appraisal| &appraisal.facts),
        "fresh": findings.fresh,
        "still_counts": findings.still_counts,
        "proves": findings.proves(),
        "does_not_prove": findings.does_not_prove(),
    })
}

fn write(out: &mut impl Write, proof: &ProofFile, findings: &Findings) -> io::Result<()> {
    let title = |grade: Grade| grade.wording().title;
    writeln!(out, "It claims: {}", title(findings.claimed))?;
    match &findings.found {
        Ok(appraisal) => writeln!(out, "Its evidence shows: {}", title(appraisal.grade))?,
        Err(refused) => writeln!(out, "Its evidence is refused: {refused}")?,
    }
    if findings.found.is_ok() && !findings.still_counts {
        writeln!(out, "At the time that the file names it would have counted; now it does not.")?;
    }
    let proves = findings.proves();
    writeln!(out, "\nWhat it proves{}", if proves.is_empty() { ": nothing" } else { "" })?;
    for sentence in proves {
        writeln!(out, "  {sentence}")?;
    }
    writeln!(out, "\nWhat it does not prove")?;
    for sentence in findings.does_not_prove() {
        writeln!(out, "  {sentence}")?;
    }
    writeln!(out, "\nWhat that computer says of itself, with Chrysalis {}", printable(&proof.app))?;
    for file in &proof.files {
        let known = |text: &Option<String>| text.as_deref().map_or_else(|| "unknown".to_owned(), printable);
        let name = file.name.as_deref().map_or_else(String::new, |name| format!(" {}", printable(name)));
        writeln!(
            out,
            "  {}{name}: measured {}, expected {}",
            printable(&file.what),
            known(&file.measured),
            known(&file.expected)
        )?;
    }
    for wall in proof.walls.iter().flatten() {
        let stands = match wall.closed {
            Some(true) => "closed",
            Some(false) => "open",
            None => "not known",
        };
        writeln!(out, "  box, {}: {stands}", printable(&wall.wall))?;
    }
    Ok(())
}
