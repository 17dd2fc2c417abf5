//! One certificate from an authority: order, proof, request, chain (RFC 8555 §7.4).

use super::patience::patient;
use super::proof::{Proof, kind};
use super::trouble::{Trouble, told};
use crate::shared::tls::Tls;
use instant_acme::{
    Account, AuthorizationStatus, CertificateIdentifier, Error, Identifier, NewOrder, Order,
    OrderStatus, Problem, RetryPolicy,
};
use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use rip::tls::challenge::Challenge;
use std::sync::Arc;
use std::time::Duration;

/// A chain and its key, both PEM.
pub struct Obtained {
    /// The chain.
    pub chain: String,
    /// Its key.
    pub key: String,
    /// What the authority was shown; `None` where it still knew.
    pub challenge: Option<Challenge>,
}

/// Begins an order for `name`, in the place of the certificate `replaces` where the authority wants to
/// know (RFC 9773 §5).
///
/// # Errors
/// What the authority said.
pub async fn begin(
    account: &Account,
    name: &str,
    replaces: Option<CertificateIdentifier<'_>>,
) -> Result<Order, Trouble> {
    let identifiers = [Identifier::Dns(name.to_owned())];
    if let Some(replaced) = replaces {
        let replacing = NewOrder::new(&identifiers).replaces(replaced);
        match patient(async || account.new_order(&replacing).await).await {
            Ok(order) => return Ok(order),
            Err(Error::Api(problem)) if is_rate_limit(&problem) => {
                return Err(Error::Api(problem).into());
            }
            Err(error @ (Error::Hyper(_) | Error::Timeout(_))) => return Err(error.into()),
            // It cannot, or does not know it, or knows another one in its place.
            Err(error) => log::debug!("an order that replaces was refused: {error}"),
        }
    }
    let new = NewOrder::new(&identifiers);
    Ok(patient(async || account.new_order(&new).await).await?)
}

/// Who has asked too often is not to ask at once again (RFC 8555 §6.6).
fn is_rate_limit(problem: &Problem) -> bool {
    problem.r#type.as_deref().is_some_and(|kind| kind.ends_with(":rateLimited"))
}

/// Brings `order` for `name` to its end with the first of `challenges` that the authority offers;
/// the one that was tried is in `tried` in any case.
///
/// # Errors
/// What the authority said, or was in the way here.
pub async fn complete(
    mut order: Order,
    tls: &Arc<Tls>,
    name: &str,
    challenges: &[Challenge],
    tried: &mut Option<Challenge>,
) -> Result<Obtained, Trouble> {
    let proofs = prove(&mut order, tls, name, challenges, tried).await?;
    if order.state().status != OrderStatus::Ready {
        let ready = patient(async || order.poll_ready(&PATIENCE).await).await;
        match ready {
            Ok(OrderStatus::Ready) => {}
            Ok(_) => return Err(Trouble::unproven(unproven(&mut order).await)),
            Err(Error::Api(problem)) => {
                let mut why = told(&problem);
                let more = unproven(&mut order).await;
                if more != NO_REASON {
                    why = more;
                }
                return Err(Trouble::unproven(why));
            }
            Err(error) => return Err(error.into()),
        }
    }
    drop(proofs);
    let (request, key) = request(name).map_err(|error| Trouble::refused(error.to_string()))?;
    patient(async || order.finalize_csr(&request).await).await?;
    let chain = patient(async || order.poll_certificate(&PATIENCE).await).await?;
    Ok(Obtained { chain, key, challenge: *tried })
}

/// Shows what the authority wants to see and tells it to look.
async fn prove(
    order: &mut Order,
    tls: &Arc<Tls>,
    name: &str,
    challenges: &[Challenge],
    tried: &mut Option<Challenge>,
) -> Result<Vec<Proof>, Trouble> {
    // First all are fetched, with patience; then nothing goes wrong between them.
    patient(async || {
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            authorization?;
        }
        Ok(())
    })
    .await?;
    let mut proofs = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        match authorization.status {
            AuthorizationStatus::Valid => continue,
            AuthorizationStatus::Pending => {}
            status => return Err(Trouble::unproven(format!("the authorization is {status:?}"))),
        }
        let offers = |one: &&Challenge| {
            authorization.challenges.iter().any(|offer| offer.r#type == kind(**one))
        };
        let Some(challenge) = challenges.iter().find(offers).copied() else {
            let ours: Vec<_> = challenges.iter().map(|challenge| challenge.as_str()).collect();
            return Err(Trouble::refused(format!(
                "the authority offers no challenge that can be met here: {}",
                ours.join(", ")
            )));
        };
        *tried = Some(challenge);
        let Some(mut handle) = authorization.challenge(kind(challenge)) else { continue };
        let (token, key) = (handle.token.clone(), handle.key_authorization());
        proofs.push(Proof::show(tls, challenge, name, &token, &key).map_err(Trouble::refused)?);
        patient(async || handle.set_ready().await).await?;
    }
    Ok(proofs)
}

/// What the authority saw instead of what it should have seen.
async fn unproven(order: &mut Order) -> String {
    let mut reasons = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let Ok(mut authorization) = authorization else { continue };
        if patient(async || authorization.refresh().await.map(|_| ())).await.is_err() {
            continue;
        }
        let problems =
            authorization.challenges.iter().filter_map(|challenge| challenge.error.as_ref());
        reasons.extend(problems.map(told));
    }
    match reasons.is_empty() {
        true => NO_REASON.to_owned(),
        false => reasons.join("; "),
    }
}

/// A request for a certificate for `name`, in DER, and its key, which is new, in PEM.
fn request(name: &str) -> Result<(Vec<u8>, String), rcgen::Error> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(vec![name.to_owned()])?;
    params.distinguished_name = DistinguishedName::new();
    let request = params.serialize_request(&key)?;
    Ok((request.der().to_vec(), key.serialize_pem()))
}

const NO_REASON: &str = "the authority refused without a reason";
/// How long an authority may take to look, and to sign.
const PATIENCE: RetryPolicy = RetryPolicy::new().timeout(Duration::from_secs(120));
