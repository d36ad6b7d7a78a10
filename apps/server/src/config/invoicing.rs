//! What the house says of itself on invoices, and how it numbers and taxes them.

use billing_core::invoice::{
    self, Locale, Party, TaxCategory, TaxId, TaxRate, TaxRule, TaxTable, TaxTreatment,
};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// How invoices are made. Without it they are plain: of nobody in particular, without taxes.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Invoicing {
    /// What numbers of invoices begin with; `{year}` stands for the year.
    pub(crate) series: String,
    /// What numbers of credit notes begin with.
    pub(crate) credit_series: String,
    /// In how many days an invoice is to be paid.
    pub(crate) due_days: u16,
    /// The language of invoices to accounts that have chosen none: `en` or `zh-CN`.
    pub(crate) language: String,
    /// What stands at the foot of each invoice, a paragraph each.
    pub(crate) notes: Vec<String>,
    /// Who sells.
    pub(crate) seller: Option<Seller>,
    /// What fees of plans are, for taxes.
    pub(crate) category: String,
    /// Why no tax is due where no rule holds, as it is said on invoices; nothing is said unless set.
    pub(crate) elsewhere: String,
    /// Which taxes are due where.
    pub(crate) tax: Vec<Tax>,
}

/// Who sells.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Seller {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) address: Vec<String>,
    /// Two letters of ISO 3166-1.
    pub(crate) country: String,
    #[serde(default)]
    pub(crate) region: Option<String>,
    #[serde(default)]
    pub(crate) email: Option<String>,
    /// The number under which the tax office knows it.
    #[serde(default)]
    pub(crate) tax_id: Option<SellerTaxId>,
}

/// A tax number and what it is called.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SellerTaxId {
    pub(crate) kind: String,
    pub(crate) value: String,
}

/// A tax on sales to a country.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tax {
    /// The buyer's country.
    pub(crate) country: String,
    /// Its state or province; all of them unless set.
    #[serde(default)]
    pub(crate) region: Option<String>,
    /// What is sold; everything unless set.
    #[serde(default)]
    pub(crate) category: Option<String>,
    /// What the tax is called.
    #[serde(default)]
    pub(crate) name: Option<String>,
    /// How much of the net amount it is, such as `"19"`.
    #[serde(default)]
    pub(crate) percent: Option<String>,
    /// Whether prices include it.
    #[serde(default)]
    pub(crate) included: bool,
    /// Why none is due, instead of a tax.
    #[serde(default)]
    pub(crate) exempt: Option<String>,
    /// Whether a buyer of another country than the seller's who has a tax number owes it.
    #[serde(default)]
    pub(crate) reverse_charge: bool,
    /// From when on, in RFC 3339.
    #[serde(default)]
    pub(crate) from: Option<String>,
    /// Up to when.
    #[serde(default)]
    pub(crate) until: Option<String>,
}

impl Default for Invoicing {
    fn default() -> Self {
        let plain = invoice::Invoicing::default();
        Self {
            series: plain.invoices.to_string(),
            credit_series: plain.credit_notes.to_string(),
            due_days: plain.due_days,
            language: plain.locale.name().to_owned(),
            notes: Vec::new(),
            seller: None,
            category: plain.category.to_string(),
            elsewhere: String::new(),
            tax: Vec::new(),
        }
    }
}

impl Invoicing {
    /// What the rules make of it; what is wrong with it otherwise, naming the setting.
    pub(crate) fn house(&self) -> Result<invoice::Invoicing, String> {
        let invoices = self.series.parse().map_err(at("invoicing.series"))?;
        let credit_notes = self.credit_series.parse();
        let credit_notes = credit_notes.map_err(at("invoicing.credit_series"))?;
        if self.series == self.credit_series {
            return Err(
                "invoicing.credit_series is that of invoices; credit notes have their own".into(),
            );
        }
        let plain = invoice::Invoicing::default();
        let seller = match &self.seller {
            Some(seller) => seller.party()?,
            None => plain.seller,
        };
        let rules: Result<Vec<TaxRule>, String> = self.tax.iter().map(Tax::rule).collect();
        let elsewhere = TaxTreatment::Exempt {
            reason: self.elsewhere.clone(),
        };
        let house = invoice::Invoicing {
            seller,
            invoices,
            credit_notes,
            taxes: TaxTable::new(rules?, elsewhere).map_err(at("invoicing.tax"))?,
            category: category(&self.category)?,
            due_days: self.due_days,
            locale: self
                .language
                .parse::<Locale>()
                .map_err(at("invoicing.language"))?,
            notes: self.notes.clone(),
        };
        Ok(house)
    }
}

fn at<E: std::fmt::Display>(setting: &'static str) -> impl Fn(E) -> String {
    move |error| format!("{setting}: {error}")
}

fn category(text: &str) -> Result<TaxCategory, String> {
    text.parse().map_err(at("invoicing category"))
}

impl Seller {
    fn party(&self) -> Result<Party, String> {
        let tax_id = self.tax_id.as_ref().map(|id| TaxId {
            kind: id.kind.clone(),
            value: id.value.clone(),
        });
        let party = Party {
            name: self.name.clone(),
            address: self.address.clone(),
            country: self
                .country
                .parse()
                .map_err(at("invoicing.seller.country"))?,
            region: self.region.clone(),
            tax_id,
            email: self.email.clone(),
        };
        party.check().map_err(at("invoicing.seller"))?;
        Ok(party)
    }
}

impl Tax {
    fn rule(&self) -> Result<TaxRule, String> {
        let place = self.region.as_ref();
        let jurisdiction = place.map_or_else(
            || self.country.clone(),
            |region| format!("{}-{region}", self.country),
        );
        let treatment = match (&self.percent, &self.exempt) {
            (Some(percent), None) => TaxTreatment::Taxed {
                rates: vec![TaxRate {
                    name: self.name.clone().unwrap_or_else(|| "VAT".to_owned()),
                    jurisdiction,
                    percent: percent.parse().map_err(at("invoicing.tax.percent"))?,
                    included: self.included,
                }],
            },
            (None, Some(reason)) => TaxTreatment::Exempt {
                reason: reason.clone(),
            },
            (None, None) | (Some(_), Some(_)) => {
                let country = &self.country;
                return Err(format!(
                    "invoicing.tax of {country}: give either percent, or exempt with the reason"
                ));
            }
        };
        Ok(TaxRule {
            country: self.country.parse().map_err(at("invoicing.tax.country"))?,
            region: self.region.clone(),
            category: self.category.as_deref().map(category).transpose()?,
            from: self.from.as_deref().map(instant).transpose()?,
            until: self.until.as_deref().map(instant).transpose()?,
            treatment,
            reverse_charge: self.reverse_charge,
        })
    }
}

fn instant(text: &str) -> Result<OffsetDateTime, String> {
    OffsetDateTime::parse(text, &Rfc3339).map_err(|_| {
        format!("invoicing.tax: \"{text}\" is no instant; give one such as 2027-01-01T00:00:00Z")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<invoice::Invoicing, String> {
        let read: Invoicing = toml::from_str(text).map_err(|error| error.to_string())?;
        read.house()
    }

    #[test]
    fn without_settings_invoices_are_plain() {
        assert_eq!(read(""), Ok(invoice::Invoicing::default()));
    }

    #[test]
    fn a_seller_and_taxes_are_read() {
        let house = read(
            "series = \"R-{year}-\"\ndue_days = 14\nlanguage = \"zh-CN\"\nelsewhere = \"export\"\n\
             [seller]\nname = \"Example GmbH\"\naddress = [\"Hauptstr. 1\"]\ncountry = \"DE\"\n\
             tax_id = { kind = \"VAT\", value = \"DE123456789\" }\n\
             [[tax]]\ncountry = \"DE\"\nname = \"USt.\"\npercent = \"19\"\n\
             [[tax]]\ncountry = \"FR\"\npercent = \"20\"\nincluded = true\nreverse_charge = true\n\
             [[tax]]\ncountry = \"CA\"\nregion = \"QC\"\nexempt = \"not registered\"\n",
        )
        .unwrap();
        assert_eq!(house.seller.name, "Example GmbH");
        assert_eq!((house.due_days, house.locale), (14, Locale::ZhCn));
        let buyer = |country: &str| Party {
            country: country.parse().unwrap(),
            ..Party::named("Buyer")
        };
        let now = OffsetDateTime::UNIX_EPOCH;
        let of = |country| {
            let treatment =
                house
                    .taxes
                    .treatment(&house.seller, &buyer(country), &house.category, now);
            let rate = treatment.rates().first();
            rate.map(|rate| (rate.name.clone(), rate.percent.to_string(), rate.included))
        };
        assert_eq!(of("DE"), Some(("USt.".to_owned(), "19".to_owned(), false)));
        assert_eq!(of("FR"), Some(("VAT".to_owned(), "20".to_owned(), true)));
        assert_eq!(of("US"), None);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, named) in [
            ("series = \"INV\"", "invoicing.series"),
            ("credit_series = \"INV-\"", "credit_series"),
            ("language = \"de\"", "invoicing.language"),
            (
                "[seller]\nname = \"\"\ncountry = \"DE\"",
                "invoicing.seller",
            ),
            (
                "[seller]\nname = \"A\"\ncountry = \"Germany\"",
                "seller.country",
            ),
            ("[[tax]]\ncountry = \"DE\"", "percent"),
            ("[[tax]]\ncountry = \"DE\"\npercent = \"-1\"", "percent"),
            (
                "[[tax]]\ncountry = \"DE\"\npercent = \"1\"\nfrom = \"2027\"",
                "2027",
            ),
            (
                "[[tax]]\ncountry = \"DE\"\npercent = \"1\"\n[[tax]]\ncountry = \"DE\"\npercent = \"2\"",
                "DE",
            ),
            ("sereis = \"A-\"", "sereis"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(named), "{text}: {error}");
        }
    }
}
