//! Evidence as an attester may send it, and the parts of it.

use evidence::{
    Anchors, Binding, Evidence, Grade, Policy, SnpEvidence, Statement, TdxEvidence, appraise, inspect, registrar, snp,
    tdx,
};

/// November 2026.
const NOW: u64 = 1_795_350_000;
const BINDING: Binding = Binding { nonce: [1; 32], tls_key: [2; 32] };

/// A whole evidence, read, written and judged where nobody is trusted.
pub fn evidence_container(data: &[u8]) {
    let Ok(read) = Evidence::decode(data) else { return };
    assert!(read.encode() == data, "evidence is not written as it was read");
    if let Ok(appraisal) = appraise(&read, &BINDING, NOW, &Anchors::default(), &Policy::default()) {
        assert!(appraisal.grade == Grade::SelfClaim, "a grade for nothing");
    }
}

/// A TPM's key, signature and quote: two lengths of a byte, and then the three.
pub fn evidence_quote(data: &[u8]) {
    let [public, signature, rest @ ..] = data else { return };
    let (public, rest) = rest.split_at(usize::from(*public).min(rest.len()));
    let (signature, attest) = rest.split_at(usize::from(*signature).min(rest.len()));
    let said = inspect::quote(attest);
    assert!(said.is_none_or(|said| said.extra_data.len() < attest.len()), "more in a quote than there is");
    let _fits = inspect::signed(public, attest, signature);
}

/// A boot log, which leads where it leads.
pub fn evidence_boot_log(data: &[u8]) {
    let Ok(registers) = inspect::replayed(data) else {
        assert!(inspect::boot_log(data, &[[0; 32]; 8]).is_err(), "a log that can't be replayed is read");
        return;
    };
    drop(inspect::boot_log(data, &registers));
    let mut others = registers;
    others[7][0] ^= 1;
    assert!(inspect::boot_log(data, &others).is_err(), "a log leads to two places");
}

/// A chip's certificate, or several as they stand in a TPM's memory.
pub fn evidence_certificate(data: &[u8]) {
    let several = registrar::certificates_in(data);
    assert!(several.len() <= registrar::CARRIED, "more certificates than are carried");
    assert!(several.iter().map(Vec::len).sum::<usize>() <= data.len(), "more bytes of certificates than there are");
    for one in several {
        drop(inspect::certificate(&one));
    }
    if let Some(said) = inspect::certificate(data) {
        assert!(said.key.len() < data.len(), "a key that is larger than its certificate");
        assert!(said.room_below.is_none_or(|room| room < 256), "more room than a byte says");
        assert!(!(said.authority && said.endorsement), "an authority passes for a chip");
    }
}

/// A registrar's statement. Nobody can sign one by chance.
pub fn evidence_statement(data: &[u8]) {
    if let Ok(statement) = Statement::verify(data) {
        assert!(statement.vendor.len() < data.len(), "a name that is larger than its statement");
    }
}

/// A quote of TDX and its collateral: the quote's length in two bytes, lowest first, then both.
pub fn evidence_tdx(data: &[u8]) {
    let [low, high, rest @ ..] = data else { return };
    let (quote, collateral) = rest.split_at(usize::from(u16::from_le_bytes([*low, *high])).min(rest.len()));
    let evidence = TdxEvidence { quote: quote.to_vec(), collateral: collateral.to_vec(), gpu: None };
    let policy = Policy { images: tdx::image_of(quote).into_iter().collect(), ..Policy::default() };
    assert!(tdx::appraise(&evidence, &[0; 64], NOW, &policy).is_err(), "a quote that nobody signed is good");
}

/// A report of SEV-SNP, with certificates behind it: a length in two bytes for the first.
pub fn evidence_snp(data: &[u8]) {
    let [low, high, rest @ ..] = data else { return };
    let (report, rest) = rest.split_at(rest.len().min(0x4a0));
    let (vcek, ask) = rest.split_at(usize::from(u16::from_le_bytes([*low, *high])).min(rest.len()));
    let evidence = SnpEvidence { report: report.to_vec(), vcek: vcek.to_vec(), ask: ask.to_vec(), gpu: None };
    let policy = Policy { images: snp::image_of(report).into_iter().collect(), ..Policy::default() };
    assert!(snp::appraise(&evidence, &[0; 64], NOW, &policy).is_err(), "a report that nobody signed is good");
}
