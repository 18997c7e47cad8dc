//! The ciphers of the providers that have their keys in the file: bytes in, bytes out, laid out as the reference lays them
//! out (`storage/value/encrypt/{aes,secretbox}`).

use aes_gcm::AesGcm;
use aes_gcm::aead::consts::U12;
use aes_gcm::aead::{Aead, AeadInPlace, KeyInit, Payload};
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockDecryptMut, BlockEncryptMut, KeyIvInit};
use crypto_secretbox::XSalsa20Poly1305;
use ring::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, UnboundKey};

use crate::clock::Clock;

const GCM_NONCE_BYTES: usize = 12;
const GCM_TAG_BYTES: usize = 16;
const BLOCK_BYTES: usize = 16;
const SECRETBOX_NONCE_BYTES: usize = 24;
const SECRETBOX_TAG_BYTES: usize = 16;

const TOO_SHORT: &str = "the stored data was shorter than the required size";
/// What Go's packages say of a tag that does not fit.
const FORGED: &str = "cipher: message authentication failed";

/// A cipher with its key.
pub(super) enum Cipher {
    /// `aesgcm`
    Gcm(Gcm),
    /// `aescbc`
    Cbc(Cbc),
    /// `secretbox`
    Secretbox(Box<XSalsa20Poly1305>),
}

/// AES-GCM: a nonce, what is encrypted, a tag.
pub(super) enum Gcm {
    /// Keys of 16 and 32 bytes.
    Common(Box<LessSafeKey>),
    /// Keys of 24 bytes, which `ring` has not.
    Rare(Box<AesGcm<aes::Aes192, U12>>),
}

/// AES-CBC: an initialisation vector, what is encrypted with PKCS #7 padding. It has no tag: what was changed may go unseen.
pub(super) enum Cbc {
    /// Keys of 16 bytes.
    Short([u8; 16]),
    /// Keys of 24 bytes.
    Middle([u8; 24]),
    /// Keys of 32 bytes.
    Long([u8; 32]),
}

impl Gcm {
    /// With a key of 16, 24 or 32 bytes.
    pub(super) fn new(key: &[u8]) -> Option<Self> {
        let common = |algorithm| Some(Self::Common(Box::new(LessSafeKey::new(UnboundKey::new(algorithm, key).ok()?))));
        match key.len() {
            16 => common(&AES_128_GCM),
            24 => Some(Self::Rare(Box::new(AesGcm::new_from_slice(key).ok()?))),
            32 => common(&AES_256_GCM),
            _ => None,
        }
    }

    /// Encrypts behind a head that stays readable; `path` has to be the same to decrypt.
    pub(super) fn seal(&self, head: &[u8], path: &str, value: &[u8], clock: &dyn Clock) -> Result<Vec<u8>, String> {
        let mut nonce = [0; GCM_NONCE_BYTES];
        clock.random(&mut nonce);
        let begin = head.len() + GCM_NONCE_BYTES;
        let mut sealed = Vec::with_capacity(begin + value.len() + GCM_TAG_BYTES);
        sealed.extend_from_slice(head);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(value);
        let too_long = || "the value is too long to be encrypted".to_string();
        match self {
            Self::Common(key) => {
                let nonce = ring::aead::Nonce::assume_unique_for_key(nonce);
                let tag = key.seal_in_place_separate_tag(nonce, Aad::from(path.as_bytes()), &mut sealed[begin..]);
                sealed.extend_from_slice(tag.map_err(|_| too_long())?.as_ref());
            }
            Self::Rare(cipher) => {
                let tag = cipher.encrypt_in_place_detached((&nonce).into(), path.as_bytes(), &mut sealed[begin..]);
                sealed.extend_from_slice(&tag.map_err(|_| too_long())?);
            }
        }
        Ok(sealed)
    }

    /// Decrypts what [`Gcm::seal`] wrote after the head.
    pub(super) fn open(&self, path: &str, sealed: &[u8]) -> Result<Vec<u8>, String> {
        let (nonce, sealed) = sealed.split_first_chunk::<GCM_NONCE_BYTES>().ok_or(TOO_SHORT)?;
        match self {
            Self::Common(key) => {
                let mut value = sealed.to_vec();
                let nonce = ring::aead::Nonce::assume_unique_for_key(*nonce);
                let length =
                    key.open_in_place(nonce, Aad::from(path.as_bytes()), &mut value).map_err(|_| FORGED)?.len();
                value.truncate(length);
                Ok(value)
            }
            Self::Rare(cipher) => {
                let payload = Payload { msg: sealed, aad: path.as_bytes() };
                cipher.decrypt(nonce.into(), payload).map_err(|_| FORGED.into())
            }
        }
    }
}

impl Cbc {
    /// With a key of 16, 24 or 32 bytes.
    pub(super) fn new(key: &[u8]) -> Option<Self> {
        match key.len() {
            16 => Some(Self::Short(key.try_into().ok()?)),
            24 => Some(Self::Middle(key.try_into().ok()?)),
            32 => Some(Self::Long(key.try_into().ok()?)),
            _ => None,
        }
    }

    fn seal(&self, value: &[u8], clock: &dyn Clock) -> Vec<u8> {
        let mut iv = [0; BLOCK_BYTES];
        clock.random(&mut iv);
        let mut sealed = iv.to_vec();
        sealed.extend(match self {
            Self::Short(key) => encrypt(cbc::Encryptor::<aes::Aes128>::new(key.into(), &iv.into()), value),
            Self::Middle(key) => encrypt(cbc::Encryptor::<aes::Aes192>::new(key.into(), &iv.into()), value),
            Self::Long(key) => encrypt(cbc::Encryptor::<aes::Aes256>::new(key.into(), &iv.into()), value),
        });
        sealed
    }

    fn open(&self, sealed: &[u8]) -> Result<Vec<u8>, String> {
        let (iv, sealed) = sealed.split_first_chunk::<BLOCK_BYTES>().ok_or(TOO_SHORT)?;
        if !sealed.len().is_multiple_of(BLOCK_BYTES) {
            return Err("the stored data is not a multiple of the block size".into());
        }
        let iv = iv.into();
        let value = match self {
            Self::Short(key) => decrypt(cbc::Decryptor::<aes::Aes128>::new(key.into(), iv), sealed),
            Self::Middle(key) => decrypt(cbc::Decryptor::<aes::Aes192>::new(key.into(), iv), sealed),
            Self::Long(key) => decrypt(cbc::Decryptor::<aes::Aes256>::new(key.into(), iv), sealed),
        };
        value.ok_or_else(|| "invalid padding on input".into())
    }
}

fn encrypt(cipher: impl BlockEncryptMut, value: &[u8]) -> Vec<u8> {
    cipher.encrypt_padded_vec_mut::<Pkcs7>(value)
}

fn decrypt(cipher: impl BlockDecryptMut, sealed: &[u8]) -> Option<Vec<u8>> {
    cipher.decrypt_padded_vec_mut::<Pkcs7>(sealed).ok()
}

impl Cipher {
    /// Encrypts a value that is stored at `path`.
    pub(super) fn seal(&self, path: &str, value: &[u8], clock: &dyn Clock) -> Result<Vec<u8>, String> {
        match self {
            Self::Gcm(gcm) => gcm.seal(&[], path, value, clock),
            Self::Cbc(cbc) => Ok(cbc.seal(value, clock)),
            Self::Secretbox(secretbox) => {
                let mut nonce = [0; SECRETBOX_NONCE_BYTES];
                clock.random(&mut nonce);
                box_up(secretbox, nonce, value)
            }
        }
    }

    /// Decrypts what [`Cipher::seal`] wrote.
    pub(super) fn open(&self, path: &str, sealed: &[u8]) -> Result<Vec<u8>, String> {
        match self {
            Self::Gcm(gcm) => gcm.open(path, sealed),
            Self::Cbc(cbc) => cbc.open(sealed),
            Self::Secretbox(secretbox) => {
                let (nonce, rest) = sealed.split_first_chunk::<SECRETBOX_NONCE_BYTES>().ok_or(TOO_SHORT)?;
                let (tag, rest) = rest.split_first_chunk::<SECRETBOX_TAG_BYTES>().ok_or(TOO_SHORT)?;
                let mut value = rest.to_vec();
                // The words of the reference, though no array is too small.
                let forged = |_| "output array was not large enough for encryption".to_string();
                secretbox.decrypt_in_place_detached(nonce.into(), &[], &mut value, tag.into()).map_err(forged)?;
                Ok(value)
            }
        }
    }
}

/// A secretbox: nonce, tag, what is encrypted.
fn box_up(secretbox: &XSalsa20Poly1305, nonce: [u8; SECRETBOX_NONCE_BYTES], value: &[u8]) -> Result<Vec<u8>, String> {
    let mut encrypted = value.to_vec();
    let tag = secretbox.encrypt_in_place_detached(&nonce.into(), &[], &mut encrypted);
    let tag = tag.map_err(|_| "the value is too long to be encrypted")?;
    Ok([&nonce[..], &tag[..], &encrypted[..]].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;

    fn ciphers() -> Vec<Cipher> {
        let keys: Vec<Vec<u8>> = [16, 24, 32].map(|length| (0..length).collect()).to_vec();
        let gcm = keys.iter().map(|key| Cipher::Gcm(Gcm::new(key).unwrap()));
        let cbc = keys.iter().map(|key| Cipher::Cbc(Cbc::new(key).unwrap()));
        let secretbox = XSalsa20Poly1305::new_from_slice(&keys[2]).unwrap();
        gcm.chain(cbc).chain([Cipher::Secretbox(Box::new(secretbox))]).collect()
    }

    #[test]
    fn what_was_sealed_opens_and_what_was_changed_does_not() {
        for cipher in ciphers() {
            for length in [0, 1, 15, 16, 17, 5000] {
                let value = vec![b'v'; length];
                let sealed = cipher.seal("/registry/secrets/a/b", &value, &SystemClock).unwrap();
                assert!(length < 15 || !sealed.windows(8).any(|window| window == &value[..8]));
                assert_ne!(sealed, cipher.seal("/registry/secrets/a/b", &value, &SystemClock).unwrap());
                assert_eq!(cipher.open("/registry/secrets/a/b", &sealed).unwrap(), value);
                for cut in 0..sealed.len().min(40) {
                    assert_ne!(cipher.open("/registry/secrets/a/b", &sealed[..cut]), Ok(value.clone()), "cut at {cut}");
                }
                if matches!(cipher, Cipher::Cbc(_)) {
                    continue;
                }
                for at in 0..sealed.len().min(60) {
                    let mut changed = sealed.clone();
                    changed[at] ^= 1;
                    assert!(cipher.open("/registry/secrets/a/b", &changed).is_err(), "byte {at}");
                }
                let elsewhere = cipher.open("/registry/secrets/a/c", &sealed);
                assert_eq!(elsewhere.is_err(), matches!(cipher, Cipher::Gcm(_)), "only GCM knows of its path");
            }
        }
        assert!(Gcm::new(&[0; 31]).is_none() && Cbc::new(&[]).is_none());
    }

    #[test]
    fn errors_are_in_the_words_of_the_reference() {
        let long = [0; 80];
        let said: Vec<String> = ciphers().iter().map(|cipher| cipher.open("/k", &long[..9]).unwrap_err()).collect();
        assert!(said.iter().all(|text| text == TOO_SHORT), "{said:?}");
        assert_eq!(ciphers()[0].open("/k", &long).unwrap_err(), FORGED);
        assert_eq!(
            ciphers()[3].open("/k", &long[..33]).unwrap_err(),
            "the stored data is not a multiple of the block size"
        );
    }

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    }

    /// The example that comes with NaCl: the layout is that of `golang.org/x/crypto/nacl/secretbox`.
    #[test]
    fn a_secretbox_is_the_one_of_nacl() {
        let key = hex("1b27556473e985d462cd51197a9a46c76009549eac6474f206c4ee0844f68389");
        let nonce = hex("69696ee955b62b73cd62bda875fc73d68219e0036b7a0b37").try_into().unwrap();
        let value = hex(concat!(
            "be075fc53c81f2d5cf141316ebeb0c7b5228c52a4c62cbd44b66849b64244ffce5ecbaaf33bd751a1ac728d45e6c6129",
            "6cdc3c01233561f41db66cce314adb310e3be8250c46f06dceea3a7fa1348057e2f6556ad6b1318a024a838f21af1fde",
            "048977eb48f59ffd4924ca1c60902e52f0a089bc76897040e082f937763848645e0705"
        ));
        let expected = hex("f3ffc7703f9400e52a7dfb4b3d3305d98e993b9f48681273c29650ba32fc76ce");
        let secretbox = XSalsa20Poly1305::new_from_slice(&key).unwrap();
        let sealed = box_up(&secretbox, nonce, &value).unwrap();
        assert_eq!(sealed[..24], nonce);
        assert_eq!(sealed[24..24 + 32], expected);
    }

    /// Case 4 of the examples of NIST SP 800-38A, F.2: AES-CBC with a key of 32 bytes.
    #[test]
    fn cbc_is_the_one_of_the_standard() {
        let key = hex("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4");
        let sealed = hex(concat!("000102030405060708090a0b0c0d0e0f", "f58c4c04d6e5f1ba779eabfb5f7bfbd6"));
        let Cbc::Long(key) = Cbc::new(&key).unwrap() else { panic!("a long key") };
        let value = hex("6bc1bee22e409f96e93d7e117393172a");
        let iv: [u8; 16] = sealed[..16].try_into().unwrap();
        let encrypted = encrypt(cbc::Encryptor::<aes::Aes256>::new(&key.into(), &iv.into()), &value);
        assert_eq!(encrypted[..16], sealed[16..]);
    }
}
