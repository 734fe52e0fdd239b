#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use rstest::rstest;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::{ServerName, UnixTime};

use super::*;

const LIVES: Lives = Lives { authority: Duration::from_secs(10_000), certificate: Duration::from_secs(900) };

fn names() -> Vec<String> {
    vec!["taffrail-operator.taffrail.svc".to_owned(), "127.0.0.1".to_owned()]
}

fn start() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

fn step(data: &SecretData, now: SystemTime) -> Option<SecretData> {
    next(data, &names(), LIVES, now).unwrap()
}

/// Whether somebody who trusts the authorities of one version takes what is served by another, by every name.
fn is_taken(trusting: &SecretData, served: &SecretData, now: SystemTime) -> bool {
    let mut roots = rustls::RootCertStore::empty();
    for authority in CertificateDer::pem_slice_iter(trusted(trusting, now).unwrap().as_bytes()) {
        roots.add(authority.unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
    let certificate = der(text(served, CERTIFICATE)).unwrap();
    let time = UnixTime::since_unix_epoch(now.duration_since(SystemTime::UNIX_EPOCH).unwrap());
    names().iter().all(|name| {
        let name = ServerName::try_from(name.as_str()).unwrap();
        verifier.verify_server_cert(&certificate, &[], &name, &[], time).is_ok()
    })
}

fn count(data: &SecretData) -> usize {
    text(data, AUTHORITIES).matches("BEGIN CERTIFICATE").count()
}

#[test]
fn what_is_made_is_taken_and_kept_until_a_third_of_its_life_is_left() {
    let made = step(&SecretData::new(), start()).unwrap();
    assert!(is_taken(&made, &made, start()));
    assert_eq!(made.keys().map(String::as_str).collect::<Vec<_>>(), [AUTHORITIES, AUTHORITY_KEY, CERTIFICATE, KEY]);
    assert_eq!(step(&made, start() + Duration::from_secs(599)), None);
    let renewed = step(&made, start() + Duration::from_secs(601)).unwrap();
    assert_ne!(renewed[CERTIFICATE], made[CERTIFICATE]);
    assert_eq!(renewed[AUTHORITIES], made[AUTHORITIES]);
}

/// Years in a minute: at no moment is something served that was not trusted before, for as long as the leader looks
/// every now and then.
#[rstest]
#[case::often(7)]
#[case::seldom(60)]
#[case::hardly_ever(145)]
fn what_is_served_is_trusted_at_every_moment(#[case] pause: u64) {
    let mut data = step(&SecretData::new(), start()).unwrap();
    let (mut certificates, mut authorities, mut most) = (0, 0, 0);
    for look in 1..35_000 / pause {
        let now = start() + Duration::from_secs(look * pause);
        assert!(is_taken(&data, &data, now), "at look {look}");
        let Some(after) = step(&data, now) else { continue };
        // The API server learns of new authorities a while after what they have signed is served, or before.
        assert!(is_taken(&data, &after, now), "at look {look}");
        assert!(is_taken(&after, &data, now), "at look {look}");
        certificates += usize::from(after[CERTIFICATE] != data[CERTIFICATE]);
        authorities += usize::from(after[AUTHORITY_KEY] != data[AUTHORITY_KEY]);
        most = most.max(count(&after));
        data = after;
    }
    assert!(certificates > 30, "{certificates}");
    assert!((3..=6).contains(&authorities), "{authorities}");
    assert_eq!(most, 2);
}

#[rstest]
#[case::no_authority(AUTHORITIES, b"", true)]
#[case::an_authority_that_is_none(AUTHORITIES, b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", true)]
#[case::the_key_of_nobody(AUTHORITY_KEY, b"\xff", true)]
#[case::no_certificate(CERTIFICATE, b"rubbish", false)]
#[case::no_key(KEY, b"", false)]
fn what_is_spoilt_is_made_anew(#[case] key: &str, #[case] value: &[u8], #[case] all: bool) {
    let made = step(&SecretData::new(), start()).unwrap();
    let mut spoilt = made.clone();
    spoilt.insert(key.to_owned(), value.to_vec());
    assert_eq!(trusted(&spoilt, start()).is_none(), all);
    let mended = step(&spoilt, start()).unwrap();
    assert!(is_taken(&mended, &mended, start()));
    assert_eq!(mended[AUTHORITIES] != made[AUTHORITIES], all);
    assert_eq!(step(&mended, start()), None);
}

#[test]
fn what_does_not_belong_together_is_made_anew() {
    let made = step(&SecretData::new(), start()).unwrap();
    let other = step(&SecretData::new(), start()).unwrap();
    for key in [AUTHORITIES, AUTHORITY_KEY, CERTIFICATE, KEY] {
        let mut mixed = made.clone();
        mixed.insert(key.to_owned(), other[key].clone());
        let mended = step(&mixed, start()).unwrap();
        assert!(is_taken(&mended, &mended, start()), "{key}");
    }
    // That of another name is of no use either.
    let moved = next(&made, &["elsewhere.svc".to_owned()], LIVES, start()).unwrap().unwrap();
    assert_eq!(moved[AUTHORITIES], made[AUTHORITIES]);
    assert!(!is_taken(&made, &moved, start()));
}

#[test]
fn an_authority_that_has_run_out_is_trusted_no_more() {
    let made = step(&SecretData::new(), start()).unwrap();
    let both = step(&made, start() + Duration::from_secs(9_000)).unwrap();
    assert_eq!(count(&both), 2);
    let later = start() + Duration::from_secs(10_001);
    assert_eq!(trusted(&both, later).unwrap().matches("BEGIN CERTIFICATE").count(), 1);
    assert_eq!(trusted(&made, later), None);
}
