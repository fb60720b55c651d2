//! The "Microsoft Platform Crypto Provider": it makes keys in the TPM, keeps them for this user under names, and loads them.

use super::services::Way;
use crate::kept::{Keeper, Refusal};
use std::ffi::c_void;
use windows::Win32::Security::Cryptography::{
    CERT_KEY_SPEC, CertCloseStore, CertEnumCertificatesInStore, CertFreeCertificateContext, HCERTSTORE,
    MS_PLATFORM_CRYPTO_PROVIDER, NCRYPT_FLAGS, NCRYPT_HANDLE, NCRYPT_KEY_HANDLE, NCRYPT_LENGTH_PROPERTY,
    NCRYPT_PCP_EKCERT_PROPERTY, NCRYPT_PCP_EKNVCERT_PROPERTY, NCRYPT_PCP_EKPUB_PROPERTY, NCRYPT_PCP_IDENTITY_KEY,
    NCRYPT_PCP_INTERMEDIATE_CA_EKCERT_PROPERTY, NCRYPT_PCP_KEY_USAGE_POLICY_PROPERTY,
    NCRYPT_PCP_PLATFORMHANDLE_PROPERTY, NCRYPT_PCP_RSA_EKCERT_PROPERTY, NCRYPT_PCP_RSA_EKNVCERT_PROPERTY,
    NCRYPT_PCP_RSA_EKPUB_PROPERTY, NCRYPT_PCP_RSA_SCHEME_HASH_ALG_PROPERTY, NCRYPT_PCP_RSA_SCHEME_PROPERTY,
    NCRYPT_PCP_TPM12_IDACTIVATION_PROPERTY, NCRYPT_PCP_TPM12_IDBINDING_PROPERTY, NCRYPT_PROV_HANDLE,
    NCRYPT_RSA_ALGORITHM, NCRYPT_SILENT_FLAG, NCryptCreatePersistedKey, NCryptDeleteKey, NCryptEnumKeys,
    NCryptFinalizeKey, NCryptFreeBuffer, NCryptFreeObject, NCryptGetProperty, NCryptKeyName, NCryptOpenKey,
    NCryptOpenStorageProvider, NCryptSetProperty,
};
use windows::Win32::Security::OBJECT_SECURITY_INFORMATION;
use windows::core::{HRESULT, HSTRING, PCWSTR};
use zeroize::Zeroizing;

/// Bits of a key, and how it signs: RSA in the older padding over SHA-256, by a TPM's numbers. Left alone the provider takes SHA-1, which no
/// verifier here believes.
const BITS: u32 = 2048;
const RSASSA: u32 = 0x0014;
const SHA256: u32 = 0x000b;
/// There is no key of that name: "no key", "bad key set", "not found".
const NO_KEY: [u32; 3] = [0x8009_000d, 0x8009_0016, 0x8009_0011];
/// No more names.
const NO_MORE: u32 = 0x8009_002a;
/// What a property or a list may have at most.
const LONGEST: u32 = 64 * 1024;
const MOST_CERTIFICATES: usize = 16;
const MOST_NAMES: usize = 4096;

/// The provider, open.
pub(crate) struct Provider(NCRYPT_PROV_HANDLE);

/// A key that is loaded.
pub(crate) struct Key(NCRYPT_KEY_HANDLE);

impl Provider {
    /// Opens it. Whoever does has looked whether there is a TPM for it.
    pub(crate) fn open() -> Result<Self, Refusal> {
        let mut provider = NCRYPT_PROV_HANDLE::default();
        // SAFETY: the place for the result is ours.
        let opened = unsafe { NCryptOpenStorageProvider(&raw mut provider, MS_PLATFORM_CRYPTO_PROVIDER, 0) };
        done("open the key provider of its TPM", opened)?;
        Ok(Self(provider))
    }

    /// The certificates of a store that the provider makes for the asking.
    fn store(&self, property: PCWSTR) -> Vec<Vec<u8>> {
        let Ok(store) = handle_of(self.0.into(), property) else { return Vec::new() };
        let store = HCERTSTORE(store as *mut c_void);
        let mut found = Vec::new();
        let mut last = None;
        loop {
            // SAFETY: the store is ours, and the one before is given back by being passed on.
            let next = unsafe { CertEnumCertificatesInStore(store, last) };
            if next.is_null() || found.len() == MOST_CERTIFICATES {
                if !next.is_null() {
                    // SAFETY: it was just given to us, and is not passed on.
                    let _ = unsafe { CertFreeCertificateContext(Some(next)) };
                }
                break;
            }
            // SAFETY: a certificate that was just given stays until the next is asked for.
            let certificate = unsafe { &*next };
            let length = usize::try_from(certificate.cbCertEncoded).unwrap_or(0);
            if !certificate.pbCertEncoded.is_null() && certificate.cbCertEncoded <= LONGEST {
                // SAFETY: Windows says that there are so many bytes.
                found.push(unsafe { std::slice::from_raw_parts(certificate.pbCertEncoded, length) }.to_vec());
            }
            last = Some(next.cast_const());
        }
        // SAFETY: it is ours to close, and nothing of it is in use.
        let _ = unsafe { CertCloseStore(Some(store), 0) };
        found
    }
}

impl Keeper for Provider {
    type Key = Key;
    type Way<'a> = Way<'a>;

    fn way(&self) -> Result<Way<'_>, Refusal> {
        let context = handle_of(self.0.into(), NCRYPT_PCP_PLATFORMHANDLE_PROPERTY)?;
        Way::of(self, context as *mut c_void)
    }

    fn open(&self, name: &str) -> Result<Option<Key>, Refusal> {
        let mut key = NCRYPT_KEY_HANDLE::default();
        let name = HSTRING::from(name);
        // SAFETY: the name outlives the call, and the place for the result is ours.
        let opened = unsafe { NCryptOpenKey(self.0, &raw mut key, &name, CERT_KEY_SPEC(0), NCRYPT_SILENT_FLAG) };
        match done("open a key of its TPM", opened) {
            Ok(()) => Ok(Some(Key(key))),
            Err(refusal) if NO_KEY.contains(&refusal.code) => Ok(None),
            Err(refusal) => Err(refusal),
        }
    }

    fn make(&self, name: &str) -> Result<Key, Refusal> {
        let asked = "make a key in its TPM";
        let mut key = NCRYPT_KEY_HANDLE::default();
        let name = HSTRING::from(name);
        let (kind, plain) = (NCRYPT_RSA_ALGORITHM, NCRYPT_FLAGS(0));
        // SAFETY: both names outlive the call, and the place for the result is ours.
        let made = unsafe { NCryptCreatePersistedKey(self.0, &raw mut key, kind, &name, CERT_KEY_SPEC(0), plain) };
        done(asked, made)?;
        // Nothing is kept before the last step.
        let key = Key(key);
        let set = |property, value: u32| {
            // SAFETY: the key is loaded, and the value outlives the call.
            let set = unsafe { NCryptSetProperty(key.0.into(), property, &value.to_le_bytes(), plain) };
            done("make a key that signs with SHA-256", set)
        };
        set(NCRYPT_LENGTH_PROPERTY, BITS)?;
        set(NCRYPT_PCP_KEY_USAGE_POLICY_PROPERTY, NCRYPT_PCP_IDENTITY_KEY)?;
        // It is what such a key has anyhow; whoever can't be told still has it.
        let _ = set(NCRYPT_PCP_RSA_SCHEME_PROPERTY, RSASSA);
        set(NCRYPT_PCP_RSA_SCHEME_HASH_ALG_PROPERTY, SHA256)?;
        // SAFETY: the key is not finished yet.
        done(asked, unsafe { NCryptFinalizeKey(key.0, NCRYPT_SILENT_FLAG) })?;
        Ok(key)
    }

    fn handle(&self, key: &Key) -> Result<u32, Refusal> {
        let mut value = [0; 4];
        read(key.0.into(), NCRYPT_PCP_PLATFORMHANDLE_PROPERTY, &mut value)?;
        Ok(u32::from_le_bytes(value))
    }

    fn binding(&self, key: &Key) -> Result<Vec<u8>, Refusal> {
        bytes(key.0.into(), NCRYPT_PCP_TPM12_IDBINDING_PROPERTY)
    }

    fn activate(&self, key: &Key, wrapped: &[u8]) -> Result<Zeroizing<Vec<u8>>, Refusal> {
        let property = NCRYPT_PCP_TPM12_IDACTIVATION_PROPERTY;
        // SAFETY: the key is loaded, and the bytes outlive the call.
        let set = unsafe { NCryptSetProperty(key.0.into(), property, wrapped, NCRYPT_FLAGS(0)) };
        done("open what a registrar wrapped", set)?;
        // Asked for its length alone it might open it twice; a secret is no longer than a hash.
        let mut secret = Zeroizing::new(vec![0; 256]);
        let length = read(key.0.into(), property, &mut secret)?;
        secret.truncate(length);
        Ok(secret)
    }

    fn endorsement(&self) -> Result<Vec<u8>, Refusal> {
        // The first is not known to older Windows, which has RSA alone.
        let of = |property| bytes(self.0.into(), property);
        of(NCRYPT_PCP_RSA_EKPUB_PROPERTY).or_else(|_| of(NCRYPT_PCP_EKPUB_PROPERTY))
    }

    fn certificates(&self) -> Vec<Vec<u8>> {
        let all = [
            NCRYPT_PCP_RSA_EKNVCERT_PROPERTY,
            NCRYPT_PCP_RSA_EKCERT_PROPERTY,
            NCRYPT_PCP_EKNVCERT_PROPERTY,
            NCRYPT_PCP_EKCERT_PROPERTY,
            NCRYPT_PCP_INTERMEDIATE_CA_EKCERT_PROPERTY,
        ];
        all.into_iter().flat_map(|property| self.store(property)).collect()
    }

    fn names(&self) -> Result<Vec<String>, Refusal> {
        let (mut names, mut state) = (Vec::new(), std::ptr::null_mut::<c_void>());
        let outcome = loop {
            let mut next = std::ptr::null_mut::<NCryptKeyName>();
            // SAFETY: the places for both results are ours.
            let told =
                unsafe { NCryptEnumKeys(self.0, PCWSTR::null(), &raw mut next, &raw mut state, NCRYPT_SILENT_FLAG) };
            match done("list the keys of its TPM", told) {
                Ok(()) if names.len() < MOST_NAMES && !next.is_null() => {
                    // SAFETY: Windows has just written a name there, which ends with a zero.
                    names.extend(unsafe { (*next).pszName.to_string() });
                    // SAFETY: it was made for us, and the name was copied.
                    let _ = unsafe { NCryptFreeBuffer(next.cast()) };
                }
                Ok(()) => break Ok(names),
                Err(refusal) if refusal.code == NO_MORE => break Ok(names),
                Err(refusal) => break Err(refusal),
            }
        };
        if !state.is_null() {
            // SAFETY: the list is over.
            let _ = unsafe { NCryptFreeBuffer(state) };
        }
        outcome
    }

    fn destroy(&self, key: Key) -> Result<(), Refusal> {
        // SAFETY: the key is loaded; destroyed it is put away too.
        done("destroy a key of its TPM", unsafe { NCryptDeleteKey(key.0, NCRYPT_SILENT_FLAG.0) })?;
        std::mem::forget(key);
        Ok(())
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        // SAFETY: it is ours, and what borrowed it is gone.
        let _ = unsafe { NCryptFreeObject(self.0.into()) };
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        // SAFETY: it is ours.
        let _ = unsafe { NCryptFreeObject(self.0.into()) };
    }
}

/// A property that is an address or a handle.
fn handle_of(object: NCRYPT_HANDLE, property: PCWSTR) -> Result<usize, Refusal> {
    let mut value = [0; size_of::<usize>()];
    read(object, property, &mut value)?;
    Ok(usize::from_le_bytes(value))
}

/// A property of whatever length.
fn bytes(object: NCRYPT_HANDLE, property: PCWSTR) -> Result<Vec<u8>, Refusal> {
    let mut length = 0;
    // SAFETY: without a place it only says how long the property is.
    let told = unsafe { NCryptGetProperty(object, property, None, &raw mut length, OBJECT_SECURITY_INFORMATION(0)) };
    done(ASKED, told)?;
    let mut value = vec![0; usize::try_from(length.min(LONGEST)).unwrap_or(0)];
    let length = read(object, property, &mut value)?;
    value.truncate(length);
    Ok(value)
}

/// A property into a place, and how long it is.
fn read(object: NCRYPT_HANDLE, property: PCWSTR, place: &mut [u8]) -> Result<usize, Refusal> {
    let mut length = 0;
    // SAFETY: the place is as long as is said.
    let told =
        unsafe { NCryptGetProperty(object, property, Some(place), &raw mut length, OBJECT_SECURITY_INFORMATION(0)) };
    done(ASKED, told)?;
    Ok(usize::try_from(length).unwrap_or(0))
}

const ASKED: &str = "say what its TPM has";

fn done(asked: &'static str, outcome: windows::core::Result<()>) -> Result<(), Refusal> {
    outcome.map_err(|error| {
        let HRESULT(code) = error.code();
        Refusal { asked, code: code.cast_unsigned() }
    })
}
