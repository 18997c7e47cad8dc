//! Signatures made by this machine's openssl and by ring, keys in every form, and what is no signature.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384};
use serde_json::{Value, json};

use super::*;

/// An RSA key of 2048 bits that signs nothing but what is here.
const RSA: &str = include_str!("rsa.pem");

/// A key as `openssl ecparam -genkey` writes it, and its public key.
const SEC1: [&str; 2] = [
    "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEILajUR2kpX1ZvHYJkyKRDOGJXhno/vzTAAFrAY9CZ+v4oAoGCCqGSM49\nAwEHoUQDQgAE8HaxUnmk5y5byzqLw37a5n1RtnRl5KiOpDIad5zMLB0aSl7JaOMy\nkJX4X/vmLDyhaLhboyIV7qxTsI+/6QDB6A==\n-----END EC PRIVATE KEY-----",
    "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE8HaxUnmk5y5byzqLw37a5n1RtnRl\n5KiOpDIad5zMLB0aSl7JaOMykJX4X/vmLDyhaLhboyIV7qxTsI+/6QDB6A==\n-----END PUBLIC KEY-----",
];

fn pem(algorithm: &'static rcgen::SignatureAlgorithm) -> String {
    KeyPair::generate_for(algorithm).unwrap().serialize_pem()
}

fn token(signer: &Signer, header: Value, payload: &Value) -> String {
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", encode(&header), encode(payload));
    let signature = URL_SAFE_NO_PAD.encode(signer.sign(signed.as_bytes()).unwrap());
    format!("{signed}.{signature}")
}

#[test]
fn what_one_key_signs_no_other_does() {
    let pems = [RSA.to_string(), pem(&PKCS_ECDSA_P256_SHA256), pem(&PKCS_ECDSA_P384_SHA384)];
    let signers: Vec<Signer> = pems.iter().map(|pem| Signer::from_pem(pem.as_bytes()).unwrap()).collect();
    for (place, signer) in signers.iter().enumerate() {
        let name = signer.public().algorithm().name();
        let signed = token(signer, json!({"alg": name, "kid": signer.public().id()}), &json!({"sub": "x"}));
        let parsed = Compact::parse(&signed).unwrap();
        assert_eq!(parsed.claims().unwrap()["sub"], "x");
        for (other, key) in signers.iter().map(Signer::public).enumerate() {
            assert_eq!(parsed.is_signed_by(&key, &Algorithm::ALL), other == place, "{name} {key:?}");
        }
        let own = [signer.public().algorithm()];
        assert!(parsed.is_signed_by(&signer.public(), &own));
        let others: Vec<Algorithm> = Algorithm::ALL.into_iter().filter(|other| *other != own[0]).collect();
        assert!(!parsed.is_signed_by(&signer.public(), &others), "an algorithm that is not allowed is no good");
        for other in Algorithm::ALL {
            let lying = token(signer, json!({"alg": other.name()}), &json!({}));
            let good = Compact::parse(&lying).unwrap().is_signed_by(&signer.public(), &Algorithm::ALL);
            assert_eq!(good, other == own[0], "{name} as {}", other.name());
        }
        for none in ["none", "None", "HS256", "RS1", ""] {
            let lying = token(signer, json!({"alg": none}), &json!({}));
            assert!(!Compact::parse(&lying).unwrap().is_signed_by(&signer.public(), &Algorithm::ALL), "{none}");
        }
        let mut forged = signed.clone().into_bytes();
        let last = forged.len() - 4;
        forged[last] = if forged[last] == b'A' { b'B' } else { b'A' };
        let forged = String::from_utf8(forged).unwrap();
        assert!(!Compact::parse(&forged).unwrap().is_signed_by(&signer.public(), &Algorithm::ALL));
    }
}

#[test]
fn keys_are_the_same_in_every_form() {
    for pem in [RSA.to_string(), pem(&PKCS_ECDSA_P256_SHA256), pem(&PKCS_ECDSA_P384_SHA384)] {
        let key = Signer::from_pem(pem.as_bytes()).unwrap().public();
        assert_eq!(PublicKey::from_spki(&key.spki()), Ok(key.clone()));
        assert_eq!(PublicKey::from_pems(pem.as_bytes()), Ok(vec![key.clone()]));
        let set = KeySet::of([key.clone(), key.clone()]);
        let json = set.to_json();
        assert_eq!(json["keys"].as_array().map(Vec::len), Some(1));
        assert_eq!(PublicKey::from_jwk(&json["keys"][0]), Ok(key.clone()));
        assert_eq!(KeySet::parse(json.to_string().as_bytes()), Ok(set));
        let pair = KeyPair::from_pem(&pem);
        if let Ok(pair) = pair {
            let public = pair.public_key_pem();
            assert_eq!(PublicKey::from_pems(public.as_bytes()), Ok(vec![key.clone()]), "{public}");
            let certificate = rcgen::CertificateParams::default().self_signed(&pair).unwrap().pem();
            assert_eq!(PublicKey::from_pems(certificate.as_bytes()), Ok(vec![key]));
        }
    }
    let [private, public] = SEC1;
    let signer = Signer::from_pem(private.as_bytes()).unwrap();
    assert_eq!(PublicKey::from_pems(public.as_bytes()), Ok(vec![signer.public()]));
    let both = format!("{private}\n{RSA}");
    assert_eq!(PublicKey::from_pems(both.as_bytes()).map(|keys| keys.len()), Ok(2), "all keys of a file count");
    assert_eq!(PublicKey::from_pems(b"nothing"), Err(KeyError::None));
    assert_eq!(Signer::from_pem(b"nothing").unwrap_err(), KeyError::NoPrivate);
}

#[test]
fn sets_of_keys_are_read_with_care() {
    let key = Signer::from_pem(RSA.as_bytes()).unwrap().public();
    let good = KeySet::of([key]).to_json()["keys"][0].clone();
    let set = |keys: Value| KeySet::parse(json!({"keys": keys}).to_string().as_bytes());
    let count = |keys: Value| set(keys).unwrap().keys().count();
    assert_eq!(count(json!([good, {"kty": "OKP", "crv": "Ed25519", "x": "AA"}, {"kty": "oct", "k": "AA"}])), 1);
    assert_eq!(count(json!([{"kty": "RSA", "n": "AQAB", "e": "AQAB"}])), 0, "a key that is too small is not used");
    assert_eq!(count(json!([{"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}, {"kty": "EC"}, 7, null])), 0);
    assert_eq!(set(Value::from(vec![good; 257])), Err(KeySetError::TooMany(257)));
    for bad in ["", "[]", "{\"keys\": 7}", "7", "null"] {
        assert!(KeySet::parse(bad.as_bytes()).is_err(), "{bad}");
    }
    assert_eq!(KeySet::parse(b"{}"), Ok(KeySet::default()));
}

#[test]
fn a_key_that_is_named_is_the_one() {
    let signers: Vec<Signer> =
        (0..2).map(|_| Signer::from_pem(pem(&PKCS_ECDSA_P256_SHA256).as_bytes()).unwrap()).collect();
    let set = KeySet::of(signers.iter().map(Signer::public));
    let check = |kid: Option<String>, expected: bool| {
        let mut header = json!({"alg": "ES256"});
        if let Some(kid) = kid {
            header["kid"] = kid.into();
        }
        let token = token(&signers[0], header, &json!({}));
        assert_eq!(set.verify(&Compact::parse(&token).unwrap(), &Algorithm::ALL), expected, "{token}");
    };
    check(None, true);
    check(Some(signers[0].public().id()), true);
    check(Some(signers[1].public().id()), false);
    check(Some("other".into()), false);
}

#[test]
fn what_is_no_token_is_not_taken_for_one() {
    let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"RS256"}"#);
    let critical = URL_SAFE_NO_PAD.encode(r#"{"alg":"RS256","crit":["b64"],"b64":false}"#);
    let long = "a".repeat(TOKEN_BYTES_MAX + 1);
    let three = "compact JWS format must have three parts";
    let cases = [
        ("".to_string(), three),
        ("a.b".into(), three),
        ("a.b.c.d".into(), three),
        (long, "it is too long"),
        ("!.b.c".into(), "illegal base64 data"),
        ("YQ.YQ.YQ".into(), "invalid header"),
        (format!("{}.e30.YQ", URL_SAFE_NO_PAD.encode(r#"["RS256"]"#)), "invalid header"),
        (format!("{header}.!.YQ"), "illegal base64 data"),
        (format!("{critical}.e30.YQ"), "unsupported crit header"),
    ];
    for (text, expected) in cases {
        assert_eq!(Compact::parse(&text).map(|_| ()).unwrap_err(), expected);
    }
    assert!(Compact::parse(&format!("{header}.e30.YQ")).unwrap().claims().unwrap().is_empty());
    assert!(Compact::parse(&format!("{header}.W10.YQ")).unwrap().claims().is_err(), "claims are an object");
}
