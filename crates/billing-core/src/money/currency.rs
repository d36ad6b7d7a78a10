//! Currencies and their minor units.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::MoneyError;

/// An ISO 4217 currency.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency([u8; 3]);

/// Currencies whose minor unit is not the hundredth, with the number of decimal places.
const UNUSUAL_PLACES: [(&[u8; 3], u32); 22] = [
    (b"BIF", 0),
    (b"CLP", 0),
    (b"DJF", 0),
    (b"GNF", 0),
    (b"ISK", 0),
    (b"JPY", 0),
    (b"KMF", 0),
    (b"KRW", 0),
    (b"PYG", 0),
    (b"RWF", 0),
    (b"UGX", 0),
    (b"VND", 0),
    (b"VUV", 0),
    (b"XAF", 0),
    (b"XOF", 0),
    (b"XPF", 0),
    (b"BHD", 3),
    (b"IQD", 3),
    (b"JOD", 3),
    (b"KWD", 3),
    (b"OMR", 3),
    (b"TND", 3),
];

/// The currencies with two decimal places that a wallet may be kept in.
const USUAL: &str = "AED AUD BDT BGN BRL CAD CHF CNY COP CZK DKK EGP EUR GBP HKD HUF IDR ILS INR \
                     KES KZT LKR MAD MOP MXN MYR NGN NOK NZD PEN PHP PKR PLN QAR RON RSD RUB SAR \
                     SEK SGD THB TRY TWD TZS UAH USD UYU ZAR";

impl Currency {
    /// United States dollar.
    pub const USD: Self = Self(*b"USD");
    /// Renminbi.
    pub const CNY: Self = Self(*b"CNY");

    /// Reads a code such as `USD`.
    ///
    /// # Errors
    /// [`MoneyError::UnknownCurrency`] for anything that is not a listed code in upper case.
    pub fn parse(code: &str) -> Result<Self, MoneyError> {
        let unknown = || MoneyError::UnknownCurrency(code.chars().take(8).collect());
        let bytes: [u8; 3] = code.as_bytes().try_into().map_err(|_| unknown())?;
        let listed = UNUSUAL_PLACES.iter().any(|(c, _)| **c == bytes)
            || USUAL.split_ascii_whitespace().any(|c| c == code);
        if listed {
            Ok(Self(bytes))
        } else {
            Err(unknown())
        }
    }

    /// The three letters.
    pub fn code(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("???")
    }

    /// Decimal places of the minor unit: 2 for USD, 0 for JPY, 3 for KWD.
    pub fn places(self) -> u32 {
        UNUSUAL_PLACES
            .iter()
            .find(|(c, _)| **c == self.0)
            .map_or(2, |(_, places)| *places)
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl Serialize for Currency {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.code())
    }
}

impl<'de> Deserialize<'de> for Currency {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let code = String::deserialize(d)?;
        Self::parse(&code).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::money::{Money, Nanos};

    #[test]
    fn currencies_know_their_minor_unit() {
        let yen = Currency::parse("JPY").unwrap();
        assert_eq!(
            Money::new(Nanos::parse("100.5").unwrap(), yen).to_minor(),
            101
        );
        assert_eq!(
            Money::new(Nanos::parse("-0.005").unwrap(), Currency::USD).to_minor(),
            -1
        );
        assert!(Currency::parse("usd").is_err());
        assert!(Currency::parse("XXXX").is_err());
    }
}
