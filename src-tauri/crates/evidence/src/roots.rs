//! The makers' own certificates, built in: where every chain of a chip ends. Where they are from and their hashes: `docs/attestation.md`.
//!
//! May not: hold anything between a root and a chip. That is carried beside the chip's certificate and proves itself.

/// Makers of TPMs, and their root certificates in DER.
pub(crate) const TPM: [(&str, &[u8]); 25] = [
    ("AMD", include_bytes!("roots/tpm/amd-ftpm-ecc-rootca.der")),
    ("AMD", include_bytes!("roots/tpm/amd-ftpm-rsa-rootca.der")),
    ("Atmel", include_bytes!("roots/tpm/atmel-tpm-root-signing-module.der")),
    ("Infineon", include_bytes!("roots/tpm/infineon-ifx-rootca.der")),
    ("Infineon", include_bytes!("roots/tpm/infineon-ifx-tpm-ek-root-ca.der")),
    ("Infineon", include_bytes!("roots/tpm/infineon-optiga-tm-ecc-root-ca.der")),
    ("Infineon", include_bytes!("roots/tpm/infineon-optiga-tm-rsa-root-ca.der")),
    ("Intel", include_bytes!("roots/tpm/intel-ekrootpublickey.der")),
    ("Microsoft", include_bytes!("roots/tpm/microsoft-tpm-root-certificate-authority-2014.der")),
    ("NationZ", include_bytes!("roots/tpm/nationz-ekrootca.der")),
    ("Nuvoton", include_bytes!("roots/tpm/nuvoton-ntc-tpm-ek-root-ca-01.der")),
    ("Nuvoton", include_bytes!("roots/tpm/nuvoton-ntc-tpm-ek-root-ca-02.der")),
    ("Nuvoton", include_bytes!("roots/tpm/nuvoton-ntc-tpm-ek-root-ca-arsuf-01.der")),
    ("Nuvoton", include_bytes!("roots/tpm/nuvoton-tpm-root-ca-1013.der")),
    ("Nuvoton", include_bytes!("roots/tpm/nuvoton-tpm-root-ca-1014.der")),
    ("Nuvoton", include_bytes!("roots/tpm/nuvoton-tpm-root-ca-1110.der")),
    ("Nuvoton", include_bytes!("roots/tpm/nuvoton-tpm-root-ca-1111.der")),
    ("Nuvoton", include_bytes!("roots/tpm/nuvoton-tpm-root-ca-2010.der")),
    ("Nuvoton", include_bytes!("roots/tpm/nuvoton-tpm-root-ca-2011.der")),
    ("Nuvoton", include_bytes!("roots/tpm/nuvoton-tpm-root-ca-2110.der")),
    ("Nuvoton", include_bytes!("roots/tpm/nuvoton-tpm-root-ca-2111.der")),
    ("STMicroelectronics", include_bytes!("roots/tpm/stmicro-globalsign-trusted-computing-ca.der")),
    ("STMicroelectronics", include_bytes!("roots/tpm/stmicro-globalsign-trusted-platform-module-ecc-root-ca.der")),
    ("STMicroelectronics", include_bytes!("roots/tpm/stmicro-st-tpm-root-certificate.der")),
    ("STMicroelectronics", include_bytes!("roots/tpm/stmicro-stm-tpm-ecc-root-ca-01.der")),
];

/// Lines of AMD's processors with SEV-SNP, and the certificates of their root keys (ARK) in DER.
pub(crate) const AMD: [(&str, &[u8]); 3] = [
    ("Milan", include_bytes!("roots/amd/milan-ark.der")),
    ("Genoa", include_bytes!("roots/amd/genoa-ark.der")),
    ("Turin", include_bytes!("roots/amd/turin-ark.der")),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::x509::Certificate;

    #[test]
    fn every_root_that_is_built_in_is_read_and_may_sign() {
        for (maker, root) in TPM.iter().chain(&AMD) {
            assert!(Certificate::read(root).is_some_and(|root| root.may_sign()), "{maker}");
        }
    }
}
