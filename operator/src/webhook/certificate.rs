//! The certificates: an authority of our own, and what it has signed.
//!
//! Both are in one Secret. Each step from one version of it to the next keeps what is served trusted: a new authority is
//! first put beside the one before, and signs nothing before the next step.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use taffrail_crds::SecretData;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::Lives;

/// All authorities to trust, the newest first.
const AUTHORITIES: &str = "ca.crt";
/// The key of the newest authority.
const AUTHORITY_KEY: &str = "ca.key";
/// The certificate that is served.
pub(super) const CERTIFICATE: &str = "tls.crt";
/// Its key.
pub(super) const KEY: &str = "tls.key";

/// How far another machine's clock may be behind.
const SKEW: Duration = Duration::from_secs(300);

/// A certificate that could not be made.
#[derive(Debug, thiserror::Error)]
#[error("could not make a certificate: {0}")]
pub(crate) struct CertificateError(#[from] rcgen::Error);

/// What the Secret should hold next; nothing while all is well.
pub(super) fn next(
    data: &SecretData,
    names: &[String],
    lives: Lives,
    now: SystemTime,
) -> Result<Option<SecretData>, CertificateError> {
    let Some(state) = State::read(data, now) else {
        let mut data = SecretData::new();
        put_authority(&mut data, "", lives, now)?;
        put_certificate(&mut data, names, lives, now)?;
        return Ok(Some(data));
    };
    let mut data = data.clone();
    if is_due(state.authority_ends, lives.authority, now) {
        put_authority(&mut data, &state.trusted, lives, now)?;
        return Ok(Some(data));
    }
    let wanted: Vec<_> = names.iter().map(String::as_str).collect();
    if state.served.is_some_and(|served| served.names == wanted && !is_due(served.ends, lives.certificate, now)) {
        return Ok(None);
    }
    put_certificate(&mut data, names, lives, now)?;
    Ok(Some(data))
}

/// The authorities of a Secret that are to be trusted, as they are written; nothing where they can't be used.
pub(super) fn trusted(data: &SecretData, now: SystemTime) -> Option<String> {
    State::read(data, now).map(|state| state.trusted)
}

/// Whether a third of a life is left, or less.
fn is_due(ends: i64, life: Duration, now: SystemTime) -> bool {
    ends - seconds(now) <= i64::try_from(life.as_secs() / 3).unwrap_or(i64::MAX)
}

fn seconds(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// Makes an authority, and puts it before those that are trusted already.
fn put_authority(data: &mut SecretData, trusted: &str, lives: Lives, now: SystemTime) -> Result<(), CertificateError> {
    let mut params = CertificateParams::default();
    // Each has a name of its own, so that nobody takes one for the other.
    params.distinguished_name = named(&format!("taffrail-operator webhook {}", seconds(now)));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params.not_before = (now - SKEW).into();
    params.not_after = (now + lives.authority).into();
    let key = KeyPair::generate()?;
    let newest = params.self_signed(&key)?.pem();
    data.insert(AUTHORITIES.to_owned(), (newest + trusted).into_bytes());
    data.insert(AUTHORITY_KEY.to_owned(), key.serialize_pem().into_bytes());
    Ok(())
}

/// Has the newest authority sign a certificate.
fn put_certificate(
    data: &mut SecretData,
    names: &[String],
    lives: Lives,
    now: SystemTime,
) -> Result<(), CertificateError> {
    let issuer = Issuer::from_ca_cert_pem(text(data, AUTHORITIES), KeyPair::from_pem(text(data, AUTHORITY_KEY))?)?;
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = named("taffrail-operator");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    params.not_before = (now - SKEW).into();
    params.not_after = (now + lives.certificate).into();
    let key = KeyPair::generate()?;
    data.insert(CERTIFICATE.to_owned(), params.signed_by(&key, &issuer)?.pem().into_bytes());
    data.insert(KEY.to_owned(), key.serialize_pem().into_bytes());
    Ok(())
}

fn named(name: &str) -> DistinguishedName {
    let mut all = DistinguishedName::new();
    all.push(DnType::CommonName, name);
    all
}

/// What is under a key; nothing where it is no text.
fn text<'a>(data: &'a SecretData, key: &str) -> &'a str {
    data.get(key).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default()
}

/// What a Secret holds that can be used.
struct State {
    /// The authorities that are still good, as they are written.
    trusted: String,
    /// When the newest is good no more.
    authority_ends: i64,
    /// What is served, if it can be.
    served: Option<Served>,
}

struct Served {
    names: Vec<String>,
    ends: i64,
}

impl State {
    /// Nothing where there is no authority that can sign.
    fn read(data: &SecretData, now: SystemTime) -> Option<Self> {
        let blocks: Vec<_> = text(data, AUTHORITIES).split_inclusive("-----END CERTIFICATE-----\n").collect();
        let authorities: Vec<_> = blocks.iter().filter_map(|block| Some((*block, der(block)?))).collect();
        let authorities: Vec<_> = authorities.iter().filter_map(|(block, der)| Some((*block, parse(der)?))).collect();
        let good: Vec<_> = authorities.iter().filter(|(_, authority)| ends(authority) > seconds(now)).collect();
        let (_, newest) = good.first()?;
        is_pair(newest, text(data, AUTHORITY_KEY)).then(|| Self {
            trusted: good.iter().map(|(block, _)| *block).collect(),
            authority_ends: ends(newest),
            served: served(data, good.iter().map(|(_, authority)| authority)),
        })
    }
}

/// The certificate that is served, where one of the authorities has signed it and its key fits.
fn served<'a>(data: &SecretData, mut authorities: impl Iterator<Item = &'a X509Certificate<'a>>) -> Option<Served> {
    let der = der(text(data, CERTIFICATE))?;
    let certificate = parse(&der)?;
    let is_signed = authorities.any(|authority| certificate.verify_signature(Some(authority.public_key())).is_ok());
    if !is_signed || !is_pair(&certificate, text(data, KEY)) {
        return None;
    }
    let names = certificate.subject_alternative_name().ok()??;
    let names = names.value.general_names.iter().filter_map(name).collect();
    Some(Served { names, ends: ends(&certificate) })
}

fn der(block: &str) -> Option<CertificateDer<'static>> {
    CertificateDer::from_pem_slice(block.as_bytes()).ok()
}

fn parse<'a>(der: &'a CertificateDer<'static>) -> Option<X509Certificate<'a>> {
    Some(X509Certificate::from_der(der).ok()?.1)
}

fn ends(certificate: &X509Certificate<'_>) -> i64 {
    certificate.validity().not_after.timestamp()
}

/// Whether a key is that of a certificate.
fn is_pair(certificate: &X509Certificate<'_>, key: &str) -> bool {
    KeyPair::from_pem(key).is_ok_and(|key| key.public_key_raw() == &*certificate.public_key().subject_public_key.data)
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(octets) => match octets.len() {
            4 => <[u8; 4]>::try_from(*octets).ok().map(|octets| IpAddr::from(octets).to_string()),
            _ => <[u8; 16]>::try_from(*octets).ok().map(|octets| IpAddr::from(octets).to_string()),
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests;
