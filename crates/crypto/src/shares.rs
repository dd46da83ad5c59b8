//! M-of-N shares of a secret: Shamir's scheme, byte by byte over GF(2^8) with the polynomial of AES.
//!
//! ```text
//! share = number (1 byte, from 1) || for each byte of the secret, the value at that number of a random polynomial of degree M - 1
//!         whose value at 0 is that byte
//! ```
//!
//! M shares give the secret, fewer give nothing. A share says nothing about whether it is genuine: whoever hands out shares
//! keeps a digest of each. Time depends on how many shares there are, not on what is in them.

use zeroize::Zeroizing;

use crate::{Crypto, Error, SymmetricKey};

/// The field has no more numbers than 255, and one stays free.
pub const SHARES_MAX: usize = 254;
const SECRET_BYTES: usize = 32;

/// `count` shares, of which any `threshold` give the secret.
pub fn split_into_shares(
    crypto: &dyn Crypto,
    secret: &SymmetricKey,
    threshold: usize,
    count: usize,
) -> Result<Vec<Zeroizing<Vec<u8>>>, Error> {
    if threshold == 0 || threshold > count || count > SHARES_MAX {
        return Err(Error::BadShares { why: "the threshold is from 1 to the number of shares, which is at most 254" });
    }
    // For each power above 0, its coefficients of all bytes' polynomials.
    let mut coefficients = Zeroizing::new(vec![[0; SECRET_BYTES]; threshold - 1]);
    coefficients.iter_mut().for_each(|coefficients| crypto.fill(coefficients));
    let mut shares = Vec::with_capacity(count);
    for number in (1..=SHARES_MAX as u8).take(count) {
        let mut share = Zeroizing::new(vec![number]);
        for (at, byte) in secret.expose().iter().enumerate() {
            let higher = coefficients.iter().rev().fold(0, |sum, power| times(sum ^ power[at], number));
            share.push(higher ^ byte);
        }
        shares.push(share);
    }
    Ok(shares)
}

/// The secret that these shares give, all of them genuine and at least as many as the threshold was; something else otherwise.
pub fn combine_shares(shares: &[Zeroizing<Vec<u8>>]) -> Result<SymmetricKey, Error> {
    let mut secret = Zeroizing::new([0; SECRET_BYTES]);
    let mut points = Vec::with_capacity(shares.len());
    for share in shares {
        match share.split_first() {
            Some((number, values)) if *number != 0 && values.len() == SECRET_BYTES => points.push((*number, values)),
            _ => return Err(Error::BadShares { why: "a share has a number and 32 bytes" }),
        }
    }
    if points.is_empty() {
        return Err(Error::BadShares { why: "there is none" });
    }
    for (at, (number, values)) in points.iter().enumerate() {
        let others = points.iter().enumerate().filter(|(other, _)| *other != at).map(|(_, (other, _))| *other);
        // Lagrange: what this point counts for the value at 0.
        let mut weight = 1;
        for other in others {
            if other == *number {
                return Err(Error::BadShares { why: "two have the same number" });
            }
            weight = times(weight, times(other, inverse(other ^ number)));
        }
        secret.iter_mut().zip(*values).for_each(|(sum, value)| *sum ^= times(*value, weight));
    }
    Ok(SymmetricKey::from_bytes(*secret))
}

/// The product in the field, without a branch or a table.
fn times(mut a: u8, b: u8) -> u8 {
    let mut product = 0;
    for bit in 0..8 {
        product ^= a & (b >> bit & 1).wrapping_neg();
        a = a << 1 ^ 0x1b & (a >> 7).wrapping_neg();
    }
    product
}

/// The 254th power: what gives 1 with any number but 0.
fn inverse(a: u8) -> u8 {
    let mut power = a;
    let mut result = 1;
    for _ in 1..8 {
        power = times(power, power);
        result = times(result, power);
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SeededCrypto;

    fn subsets(of: usize, size: usize) -> Vec<Vec<usize>> {
        let chosen = |mask: usize| (0..of).filter(|at| mask & (1 << at) != 0).collect::<Vec<_>>();
        (0..1usize << of).map(chosen).filter(|chosen| chosen.len() == size).collect()
    }

    #[test]
    fn the_field_is_that_of_aes() {
        // FIPS 197, 4.2.
        assert_eq!((times(0x57, 0x83), times(0x57, 0x13)), (0xc1, 0xfe));
        assert!((1..=255).all(|a| times(a, inverse(a)) == 1));
    }

    #[test]
    fn any_m_of_n_shares_give_the_secret_and_fewer_do_not() {
        let crypto = SeededCrypto::new(1);
        let secret = SymmetricKey::generate(&crypto);
        for count in 1..=5 {
            for threshold in 1..=count {
                let shares = split_into_shares(&crypto, &secret, threshold, count).unwrap();
                for size in 1..=count {
                    for chosen in subsets(count, size) {
                        let chosen: Vec<_> = chosen.into_iter().map(|at| shares[at].clone()).collect();
                        let given = combine_shares(&chosen).unwrap();
                        assert_eq!(given == secret, size >= threshold, "{size} of {threshold} of {count}");
                    }
                }
            }
        }
    }

    #[test]
    fn what_cannot_be_shared_or_combined_is_refused() {
        let crypto = SeededCrypto::new(1);
        let secret = SymmetricKey::generate(&crypto);
        for (threshold, count) in [(0, 1), (2, 1), (1, 255)] {
            assert!(split_into_shares(&crypto, &secret, threshold, count).is_err());
        }
        let shares = split_into_shares(&crypto, &secret, 2, 3).unwrap();
        assert!(combine_shares(&[]).is_err());
        assert!(combine_shares(&[shares[0].clone(), shares[0].clone()]).is_err());
        let short = Zeroizing::new(shares[1][..32].to_vec());
        assert!(combine_shares(&[shares[0].clone(), short]).is_err());
        let zeroth = Zeroizing::new([&[0][..], &shares[1][1..]].concat());
        assert!(combine_shares(&[shares[0].clone(), zeroth]).is_err());
    }
}
