//! Keys: public ones that signatures are checked with, and private ones that sign.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::rsa::PublicKeyComponents;
use ring::signature::{
    self, ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED,
    ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RsaKeyPair, RsaParameters, UnparsedPublicKey,
};
use sha2::{Digest, Sha256};
use x509_parser::oid_registry::{OID_EC_P256, OID_NIST_EC_P384};
use x509_parser::prelude::{FromDer, SubjectPublicKeyInfo};
use x509_parser::public_key::PublicKey as Parsed;

use super::{Algorithm, der, pem};

/// Why a key is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// There is none.
    #[error("data does not contain any valid RSA or ECDSA public keys")]
    None,
    /// There is no private one.
    #[error("data does not contain a valid RSA or ECDSA private key")]
    NoPrivate,
    /// It is not what it says it is.
    #[error("the key cannot be read: {0}")]
    Malformed(String),
    /// It is of a kind that is not used here.
    #[error("keys of {0} are not supported")]
    Unsupported(String),
}

/// A public key. Two are equal if they are the same key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PublicKey {
    /// An RSA key.
    Rsa {
        /// The modulus, without zeros in front.
        modulus: Vec<u8>,
        /// The exponent, without zeros in front.
        exponent: Vec<u8>,
    },
    /// A point on P-256, uncompressed.
    P256(Vec<u8>),
    /// A point on P-384, uncompressed.
    P384(Vec<u8>),
}

/// The bits of an RSA modulus: smaller ones are not safe, and larger ones cost too much.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

pub(super) fn without_zeros(bytes: &[u8]) -> &[u8] {
    &bytes[bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len())..]
}

impl PublicKey {
    /// An RSA key of its two numbers.
    ///
    /// # Errors
    /// [`KeyError::Unsupported`] if it is too small or too large.
    pub fn rsa(modulus: &[u8], exponent: &[u8]) -> Result<Self, KeyError> {
        let (modulus, exponent) = (without_zeros(modulus).to_vec(), without_zeros(exponent).to_vec());
        let bits = modulus.len() * 8 - modulus.first().map_or(0, |byte| byte.leading_zeros() as usize);
        if !RSA_BITS.contains(&bits) {
            return Err(KeyError::Unsupported(format!("RSA with {bits} bits")));
        }
        Ok(Self::Rsa { modulus, exponent })
    }

    /// A point on a curve, by the curve's name in JSON.
    ///
    /// # Errors
    /// [`KeyError`]
    pub fn point(curve: &str, point: Vec<u8>) -> Result<Self, KeyError> {
        let (bytes, key): (usize, fn(Vec<u8>) -> Self) = match curve {
            "P-256" => (32, Self::P256),
            "P-384" => (48, Self::P384),
            other => return Err(KeyError::Unsupported(format!("the curve {other}"))),
        };
        if point.len() != 1 + 2 * bytes || point[0] != 4 {
            return Err(KeyError::Malformed("it is no uncompressed point".into()));
        }
        Ok(key(point))
    }

    /// From `SubjectPublicKeyInfo`.
    ///
    /// # Errors
    /// [`KeyError`]
    pub fn from_spki(der: &[u8]) -> Result<Self, KeyError> {
        let malformed = |error: String| KeyError::Malformed(error);
        let (_, info) = SubjectPublicKeyInfo::from_der(der).map_err(|error| malformed(error.to_string()))?;
        match info.parsed().map_err(|error| malformed(error.to_string()))? {
            Parsed::RSA(key) => Self::rsa(key.modulus, key.exponent),
            Parsed::EC(point) => {
                let curve = info.algorithm.parameters.as_ref().and_then(|any| any.as_oid().ok());
                let curve = match curve {
                    Some(oid) if oid == OID_EC_P256 => "P-256".to_string(),
                    Some(oid) if oid == OID_NIST_EC_P384 => "P-384".to_string(),
                    other => other.map(|oid| oid.to_id_string()).unwrap_or_default(),
                };
                Self::point(&curve, point.data().to_vec())
            }
            _ => Err(KeyError::Unsupported("this algorithm".into())),
        }
    }

    /// Every key in a PEM: public keys, and those of private keys and certificates (`ParsePublicKeysPEM`).
    ///
    /// # Errors
    /// [`KeyError::None`] if there is none, or why one is refused.
    pub fn from_pems(pem: &[u8]) -> Result<Vec<Self>, KeyError> {
        pem::public_keys(pem)
    }

    /// As `SubjectPublicKeyInfo`.
    pub fn spki(&self) -> Vec<u8> {
        match self {
            Self::Rsa { modulus, exponent } => der::rsa(modulus, exponent),
            Self::P256(point) => der::point(&OID_EC_P256, point),
            Self::P384(point) => der::point(&OID_NIST_EC_P384, point),
        }
    }

    /// What tokens name it by (`keyIDFromPublicKey` in pkg/serviceaccount).
    pub fn id(&self) -> String {
        URL_SAFE_NO_PAD.encode(Sha256::digest(self.spki()))
    }

    /// The algorithm that service account tokens signed with it have.
    pub fn algorithm(&self) -> Algorithm {
        match self {
            Self::Rsa { .. } => Algorithm::Rs256,
            Self::P256(_) => Algorithm::Es256,
            Self::P384(_) => Algorithm::Es384,
        }
    }

    /// Whether a signature is good. An algorithm that is not for such a key never is.
    pub fn verify(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        match (self, algorithm) {
            (Self::Rsa { modulus, exponent }, _) => rsa_parameters(algorithm).is_some_and(|parameters| {
                let key = PublicKeyComponents { n: modulus, e: exponent };
                key.verify(parameters, message, signature).is_ok()
            }),
            (Self::P256(point), Algorithm::Es256) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature).is_ok()
            }
            (Self::P384(point), Algorithm::Es384) => {
                UnparsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, point).verify(message, signature).is_ok()
            }
            _ => false,
        }
    }
}

fn rsa_parameters(algorithm: Algorithm) -> Option<&'static RsaParameters> {
    Some(match algorithm {
        Algorithm::Rs256 => &signature::RSA_PKCS1_2048_8192_SHA256,
        Algorithm::Rs384 => &signature::RSA_PKCS1_2048_8192_SHA384,
        Algorithm::Rs512 => &signature::RSA_PKCS1_2048_8192_SHA512,
        Algorithm::Ps256 => &signature::RSA_PSS_2048_8192_SHA256,
        Algorithm::Ps384 => &signature::RSA_PSS_2048_8192_SHA384,
        Algorithm::Ps512 => &signature::RSA_PSS_2048_8192_SHA512,
        Algorithm::Es256 | Algorithm::Es384 | Algorithm::Es512 => return None,
    })
}

/// A private key.
pub struct Signer {
    pair: Pair,
    random: SystemRandom,
}

enum Pair {
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair, &'static str),
}

/// How a private key may be written.
pub(super) enum Private<'a> {
    Pkcs8(&'a [u8]),
    Pkcs1(&'a [u8]),
    Sec1(&'a [u8]),
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Signer({})", self.public().id())
    }
}

impl Signer {
    /// The first private key of a PEM: PKCS #8, PKCS #1 or SEC 1.
    ///
    /// # Errors
    /// [`KeyError`]
    pub fn from_pem(pem: &[u8]) -> Result<Self, KeyError> {
        pem::private_key(pem)
    }

    pub(super) fn read(key: &Private<'_>) -> Result<Self, KeyError> {
        let random = SystemRandom::new();
        let rejected = |error: ring::error::KeyRejected| KeyError::Malformed(error.to_string());
        let curves = [("P-256", &ECDSA_P256_SHA256_FIXED_SIGNING), ("P-384", &ECDSA_P384_SHA384_FIXED_SIGNING)];
        let pair = match key {
            Private::Pkcs1(der) => Pair::Rsa(RsaKeyPair::from_der(der).map_err(rejected)?),
            Private::Pkcs8(der) => {
                let ec = curves.into_iter().find_map(|(name, algorithm)| {
                    Some(Pair::Ec(EcdsaKeyPair::from_pkcs8(algorithm, der, &random).ok()?, name))
                });
                match ec {
                    Some(pair) => pair,
                    None => Pair::Rsa(RsaKeyPair::from_pkcs8(der).map_err(rejected)?),
                }
            }
            Private::Sec1(der) => {
                let (private, public) = pem::sec1(der).ok_or_else(|| KeyError::Malformed("it is no EC key".into()))?;
                let ec = curves.into_iter().find_map(|(name, algorithm)| {
                    let pair = EcdsaKeyPair::from_private_key_and_public_key(algorithm, private, public, &random);
                    Some(Pair::Ec(pair.ok()?, name))
                });
                ec.ok_or_else(|| KeyError::Unsupported("this curve".into()))?
            }
        };
        Ok(Self { pair, random })
    }

    /// The public key.
    pub fn public(&self) -> PublicKey {
        match &self.pair {
            Pair::Rsa(pair) => {
                let key: PublicKeyComponents<Vec<u8>> = pair.public().into();
                PublicKey::Rsa { modulus: key.n, exponent: key.e }
            }
            Pair::Ec(pair, curve) => {
                let point = pair.public_key().as_ref().to_vec();
                if *curve == "P-256" { PublicKey::P256(point) } else { PublicKey::P384(point) }
            }
        }
    }

    /// Signs a message, with the algorithm of the public key.
    ///
    /// # Errors
    /// If it cannot be signed.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, ring::error::Unspecified> {
        match &self.pair {
            Pair::Ec(pair, _) => pair.sign(&self.random, message).map(|signature| signature.as_ref().to_vec()),
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(&signature::RSA_PKCS1_SHA256, &self.random, message, &mut signature)?;
                Ok(signature)
            }
        }
    }
}
