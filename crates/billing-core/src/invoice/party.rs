//! Who sells and who buys, as they were when the invoice was made.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

/// How many characters a line of a party may have.
const LONGEST: usize = 200;
/// How many lines an address may have.
const MOST_LINES: usize = 8;

/// A seller or a buyer: what an invoice says of them. A copy, so that a later change of the account
/// does not change what was issued.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Party {
    /// The name of the company or person, in any script.
    pub name: String,
    /// The lines of the address, without the country.
    pub address: Vec<String>,
    /// The country, which decides on taxes.
    pub country: Country,
    /// The state or province, where taxes differ by it.
    pub region: Option<String>,
    /// The number under which the tax office knows them.
    pub tax_id: Option<TaxId>,
    /// Where they can be reached.
    pub email: Option<String>,
}

/// A tax number and what it is called: `VAT`, `EIN`, `统一社会信用代码`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaxId {
    /// What it is called.
    pub kind: String,
    /// The number.
    pub value: String,
}

/// Why a party cannot stand on an invoice.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PartyError {
    /// A line that an invoice needs is empty.
    #[error("the {0} is empty; an invoice must say it")]
    Empty(&'static str),
    /// A line is too long.
    #[error("the {0} has more than {LONGEST} characters")]
    TooLong(&'static str),
    /// The address has too many lines.
    #[error("the address has {0} lines, at most {MOST_LINES}")]
    TooManyLines(usize),
    /// A line has characters that nothing can show.
    #[error("the {0} has a line break or another control character; give one line of text")]
    Control(&'static str),
    /// The text is no country.
    #[error("\"{0}\" is not a country; give two capital letters of ISO 3166-1, such as CN or DE")]
    NotACountry(String),
    /// The text is no language of invoices.
    #[error("\"{0}\" is not a language of invoices; there are `en` and `zh-CN`")]
    NotALocale(String),
}

impl Party {
    /// Whether all of it can be set on paper.
    ///
    /// # Errors
    /// [`PartyError`], naming the line.
    pub fn check(&self) -> Result<(), PartyError> {
        let tax_id = self.tax_id.as_ref();
        if self.address.len() > MOST_LINES {
            return Err(PartyError::TooManyLines(self.address.len()));
        }
        let needed = [("name", Some(&self.name))].into_iter();
        let tax = [
            ("kind of tax number", tax_id.map(|id| &id.kind)),
            ("tax number", tax_id.map(|id| &id.value)),
            ("region", self.region.as_ref()),
            ("email", self.email.as_ref()),
        ];
        let address = self.address.iter().map(|line| ("address", Some(line)));
        for (what, line) in needed.chain(tax).chain(address) {
            let Some(line) = line else { continue };
            if line.trim().is_empty() {
                return Err(PartyError::Empty(what));
            }
            check_line(what, line)?;
        }
        Ok(())
    }
}

/// Whether a line of text can stand on an invoice.
pub(super) fn check_line(what: &'static str, line: &str) -> Result<(), PartyError> {
    if !is_printable(line) {
        return Err(PartyError::Control(what));
    }
    if line.chars().count() > LONGEST {
        return Err(PartyError::TooLong(what));
    }
    Ok(())
}

/// A text as far as it can stand on an invoice: a space for each character that nothing can show, and
/// no more than fits.
pub(super) fn shown_line(line: &str) -> String {
    let shown = |c: char| {
        let mut bytes = [0; 4];
        if is_printable(c.encode_utf8(&mut bytes)) {
            c
        } else {
            ' '
        }
    };
    line.chars().take(LONGEST).map(shown).collect()
}

/// Whether every character shows, and where it stands: none is a line break, and none turns the
/// direction of what follows, so that a name cannot show as another.
pub(super) fn is_printable(line: &str) -> bool {
    let hidden = |c| matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    !line.chars().any(|c| c.is_control() || hidden(c))
}

/// A country by its two letters of ISO 3166-1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Country([u8; 2]);

impl Country {
    /// No country: two letters that stand for none. Nothing is said of it on paper.
    pub const UNKNOWN: Self = Self(*b"ZZ");

    /// The two letters.
    pub fn code(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("??")
    }
}

impl FromStr for Country {
    type Err = PartyError;
    fn from_str(text: &str) -> Result<Self, PartyError> {
        let letters = <[u8; 2]>::try_from(text.as_bytes()).ok();
        letters
            .filter(|letters| letters.iter().all(u8::is_ascii_uppercase))
            .map(Self)
            .ok_or_else(|| PartyError::NotACountry(text.chars().take(40).collect()))
    }
}

impl fmt::Display for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl fmt::Debug for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl Serialize for Country {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Country {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The language that an invoice is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Locale {
    /// English.
    #[serde(rename = "en")]
    En,
    /// Simplified Chinese.
    #[serde(rename = "zh-CN")]
    ZhCn,
}

impl Locale {
    /// The storage and wire name: a language tag.
    pub const fn name(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::ZhCn => "zh-CN",
        }
    }
}

impl FromStr for Locale {
    type Err = PartyError;
    fn from_str(text: &str) -> Result<Self, PartyError> {
        [Self::En, Self::ZhCn]
            .into_iter()
            .find(|locale| locale.name() == text)
            .ok_or_else(|| PartyError::NotALocale(text.chars().take(40).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn party() -> Party {
        Party {
            name: "上海示例科技有限公司".to_owned(),
            address: vec!["世纪大道 100 号".to_owned()],
            country: "CN".parse().unwrap(),
            region: None,
            tax_id: None,
            email: None,
        }
    }

    #[test]
    fn what_cannot_be_set_on_paper_is_refused_by_its_name() {
        assert_eq!(party().check(), Ok(()));
        let mut nameless = party();
        nameless.name = " ".to_owned();
        assert_eq!(nameless.check(), Err(PartyError::Empty("name")));
        let mut broken = party();
        broken.address.push("a\nb".to_owned());
        assert_eq!(broken.check(), Err(PartyError::Control("address")));
        let mut turned = party();
        turned.name = "Example\u{202e}.moc".to_owned();
        assert_eq!(turned.check(), Err(PartyError::Control("name")));
        let mut long = party();
        long.email = Some("x".repeat(201));
        assert_eq!(long.check(), Err(PartyError::TooLong("email")));
        let mut tall = party();
        tall.address = vec!["a".to_owned(); 9];
        assert_eq!(tall.check(), Err(PartyError::TooManyLines(9)));
    }

    #[test]
    fn countries_and_languages_are_read_as_they_are_written() {
        assert_eq!("DE".parse::<Country>().unwrap().to_string(), "DE");
        for text in ["de", "DEU", "", "D1"] {
            assert!(text.parse::<Country>().is_err(), "{text:?}");
        }
        assert_eq!("zh-CN".parse(), Ok(Locale::ZhCn));
        assert!("zh".parse::<Locale>().is_err());
    }
}
