//! Names of countries, for addresses.

use billing_core::invoice::{Country, Locale};

/// What a language calls a country; its two letters where that is not known here.
pub(crate) fn country_name(country: Country, locale: Locale) -> String {
    let code = country.code();
    let named = NAMES.iter().find(|(of, ..)| *of == code);
    let name = named.map_or(code, |(_, en, zh)| match locale {
        Locale::En => en,
        Locale::ZhCn => zh,
    });
    name.to_owned()
}

const NAMES: &[(&str, &str, &str)] = &[
    ("AE", "United Arab Emirates", "阿联酋"),
    ("AR", "Argentina", "阿根廷"),
    ("AT", "Austria", "奥地利"),
    ("AU", "Australia", "澳大利亚"),
    ("BE", "Belgium", "比利时"),
    ("BR", "Brazil", "巴西"),
    ("CA", "Canada", "加拿大"),
    ("CH", "Switzerland", "瑞士"),
    ("CL", "Chile", "智利"),
    ("CN", "China", "中国"),
    ("CZ", "Czechia", "捷克"),
    ("DE", "Germany", "德国"),
    ("DK", "Denmark", "丹麦"),
    ("ES", "Spain", "西班牙"),
    ("FI", "Finland", "芬兰"),
    ("FR", "France", "法国"),
    ("GB", "United Kingdom", "英国"),
    ("HK", "Hong Kong SAR, China", "中国香港"),
    ("HU", "Hungary", "匈牙利"),
    ("ID", "Indonesia", "印度尼西亚"),
    ("IE", "Ireland", "爱尔兰"),
    ("IL", "Israel", "以色列"),
    ("IN", "India", "印度"),
    ("IT", "Italy", "意大利"),
    ("JP", "Japan", "日本"),
    ("KR", "South Korea", "韩国"),
    ("MO", "Macao SAR, China", "中国澳门"),
    ("MX", "Mexico", "墨西哥"),
    ("MY", "Malaysia", "马来西亚"),
    ("NL", "Netherlands", "荷兰"),
    ("NO", "Norway", "挪威"),
    ("NZ", "New Zealand", "新西兰"),
    ("PH", "Philippines", "菲律宾"),
    ("PL", "Poland", "波兰"),
    ("PT", "Portugal", "葡萄牙"),
    ("SE", "Sweden", "瑞典"),
    ("SG", "Singapore", "新加坡"),
    ("TH", "Thailand", "泰国"),
    ("TR", "Türkiye", "土耳其"),
    ("US", "United States", "美国"),
    ("VN", "Vietnam", "越南"),
    ("ZA", "South Africa", "南非"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_country_has_the_name_of_the_language_or_its_letters() {
        let germany = "DE".parse().unwrap();
        assert_eq!(country_name(germany, Locale::En), "Germany");
        assert_eq!(country_name(germany, Locale::ZhCn), "德国");
        assert_eq!(country_name("XK".parse().unwrap(), Locale::En), "XK");
        assert!(NAMES.is_sorted_by_key(|(code, ..)| *code));
    }
}
