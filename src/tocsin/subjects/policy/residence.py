"""Residence: the jurisdiction of a person, by the first evidence whose country is known.

Order: verified address > billing > shipping > phone prefix > country of the last IP address. The first source with a known country
decides, and its subdivision is used where law goes by it: `US-CA`, `CA-QC`; elsewhere the country alone, `DE`. Country known but not the
subdivision: `US`, `CA`; `EU` where a source says no more than that. Nothing known: `ZZ`, counted apart.
Source: specification of exposure, section 3; ISO 3166-1 and 3166-2:US, :CA; ITU-T E.164 (calling codes).
"""

from __future__ import annotations

import functools
import re

from ..types import UNKNOWN, Residence

PLACES_CACHED = 16_384

COUNTRIES = frozenset(
    "AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY BZ CA CC CD CF CG CH CI CK CL"
    " CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU"
    " GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC"
    " MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT"
    " PW PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA"
    " UG UM US UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW EU".split()
)
# How shops spell the countries their customers live in; every code above is understood as well.
_COUNTRY_NAMES = {
    "USA": "US",
    "UNITED STATES": "US",
    "UNITED STATES OF AMERICA": "US",
    "AMERICA": "US",
    "CANADA": "CA",
    "CAN": "CA",
    "UK": "GB",
    "GBR": "GB",
    "UNITED KINGDOM": "GB",
    "GREAT BRITAIN": "GB",
    "ENGLAND": "GB",
    "SCOTLAND": "GB",
    "WALES": "GB",
    "NORTHERN IRELAND": "GB",
    "GERMANY": "DE",
    "DEUTSCHLAND": "DE",
    "DEU": "DE",
    "FRANCE": "FR",
    "FRA": "FR",
    "AUSTRIA": "AT",
    "AUT": "AT",
    "SWITZERLAND": "CH",
    "CHE": "CH",
    "ITALY": "IT",
    "ITALIA": "IT",
    "ITA": "IT",
    "SPAIN": "ES",
    "ESPAÑA": "ES",
    "ESP": "ES",
    "PORTUGAL": "PT",
    "PRT": "PT",
    "NETHERLANDS": "NL",
    "THE NETHERLANDS": "NL",
    "NLD": "NL",
    "BELGIUM": "BE",
    "BEL": "BE",
    "IRELAND": "IE",
    "IRL": "IE",
    "POLAND": "PL",
    "POL": "PL",
    "SWEDEN": "SE",
    "SWE": "SE",
    "NORWAY": "NO",
    "NOR": "NO",
    "DENMARK": "DK",
    "DNK": "DK",
    "FINLAND": "FI",
    "FIN": "FI",
    "GREECE": "GR",
    "EL": "GR",
    "GRC": "GR",
    "CZECH REPUBLIC": "CZ",
    "CZECHIA": "CZ",
    "AUSTRALIA": "AU",
    "AUS": "AU",
    "NEW ZEALAND": "NZ",
    "NZL": "NZ",
    "BRAZIL": "BR",
    "BRASIL": "BR",
    "BRA": "BR",
    "MEXICO": "MX",
    "MÉXICO": "MX",
    "MEX": "MX",
    "JAPAN": "JP",
    "JPN": "JP",
    "KOREA": "KR",
    "SOUTH KOREA": "KR",
    "REPUBLIC OF KOREA": "KR",
    "KOR": "KR",
    "SINGAPORE": "SG",
    "SGP": "SG",
    "INDIA": "IN",
    "IND": "IN",
    "SOUTH AFRICA": "ZA",
    "ZAF": "ZA",
    "CHINA": "CN",
    "CHN": "CN",
    "PUERTO RICO": "PR",
    "PRI": "PR",
    "GUAM": "GU",
    "GUM": "GU",
    "U.S. VIRGIN ISLANDS": "VI",
    "US VIRGIN ISLANDS": "VI",
    "VIR": "VI",
}
US_STATES = {
    "AL": "ALABAMA",
    "AK": "ALASKA",
    "AZ": "ARIZONA",
    "AR": "ARKANSAS",
    "CA": "CALIFORNIA",
    "CO": "COLORADO",
    "CT": "CONNECTICUT",
    "DE": "DELAWARE",
    "DC": "DISTRICT OF COLUMBIA",
    "FL": "FLORIDA",
    "GA": "GEORGIA",
    "HI": "HAWAII",
    "ID": "IDAHO",
    "IL": "ILLINOIS",
    "IN": "INDIANA",
    "IA": "IOWA",
    "KS": "KANSAS",
    "KY": "KENTUCKY",
    "LA": "LOUISIANA",
    "ME": "MAINE",
    "MD": "MARYLAND",
    "MA": "MASSACHUSETTS",
    "MI": "MICHIGAN",
    "MN": "MINNESOTA",
    "MS": "MISSISSIPPI",
    "MO": "MISSOURI",
    "MT": "MONTANA",
    "NE": "NEBRASKA",
    "NV": "NEVADA",
    "NH": "NEW HAMPSHIRE",
    "NJ": "NEW JERSEY",
    "NM": "NEW MEXICO",
    "NY": "NEW YORK",
    "NC": "NORTH CAROLINA",
    "ND": "NORTH DAKOTA",
    "OH": "OHIO",
    "OK": "OKLAHOMA",
    "OR": "OREGON",
    "PA": "PENNSYLVANIA",
    "RI": "RHODE ISLAND",
    "SC": "SOUTH CAROLINA",
    "SD": "SOUTH DAKOTA",
    "TN": "TENNESSEE",
    "TX": "TEXAS",
    "UT": "UTAH",
    "VT": "VERMONT",
    "VA": "VIRGINIA",
    "WA": "WASHINGTON",
    "WV": "WEST VIRGINIA",
    "WI": "WISCONSIN",
    "WY": "WYOMING",
    "PR": "PUERTO RICO",
    "GU": "GUAM",
    "VI": "VIRGIN ISLANDS",
    "AS": "AMERICAN SAMOA",
    "MP": "NORTHERN MARIANA ISLANDS",
}
# Countries by ISO 3166-1 whose people live under the law of a US territory. AA, AE and AP (forces' post) name no territory: US.
US_TERRITORIES = frozenset({"PR", "GU", "VI", "AS", "MP"})
CA_PROVINCES = {
    "AB": "ALBERTA",
    "BC": "BRITISH COLUMBIA",
    "MB": "MANITOBA",
    "NB": "NEW BRUNSWICK",
    "NL": "NEWFOUNDLAND AND LABRADOR",
    "NS": "NOVA SCOTIA",
    "NT": "NORTHWEST TERRITORIES",
    "NU": "NUNAVUT",
    "ON": "ONTARIO",
    "PE": "PRINCE EDWARD ISLAND",
    "QC": "QUEBEC",
    "SK": "SASKATCHEWAN",
    "YT": "YUKON",
}
_SUBDIVISIONS = {
    "US": {c: c for c in US_STATES} | {n: c for c, n in US_STATES.items()} | {"WASHINGTON DC": "DC", "WASHINGTON D.C.": "DC", "D.C.": "DC"},
    "CA": {c: c for c in CA_PROVINCES}
    | {n: c for c, n in CA_PROVINCES.items()}
    | {"PQ": "QC", "QUÉBEC": "QC", "NF": "NL", "NEWFOUNDLAND": "NL"},
}

# Calling codes with one country each, longest prefix first when looked up. +1 and +7 are decided below.
_CALLING = {
    code: country
    for pair in (
        "20:EG 211:SS 212:MA 213:DZ 216:TN 218:LY 220:GM 221:SN 222:MR 223:ML 224:GN 225:CI 226:BF 227:NE 228:TG 229:BJ 230:MU 231:LR 232:SL"
        " 233:GH 234:NG 235:TD 236:CF 237:CM 238:CV 239:ST 240:GQ 241:GA 242:CG 243:CD 244:AO 245:GW 246:IO 248:SC 249:SD 250:RW 251:ET 252:SO"
        " 253:DJ 254:KE 255:TZ 256:UG 257:BI 258:MZ 260:ZM 261:MG 262:RE 263:ZW 264:NA 265:MW 266:LS 267:BW 268:SZ 269:KM 27:ZA 290:SH 291:ER"
        " 297:AW 298:FO 299:GL 30:GR 31:NL 32:BE 33:FR 34:ES 350:GI 351:PT 352:LU 353:IE 354:IS 355:AL 356:MT 357:CY 358:FI 359:BG 36:HU 370:LT"
        " 371:LV 372:EE 373:MD 374:AM 375:BY 376:AD 377:MC 378:SM 380:UA 381:RS 382:ME 385:HR 386:SI 387:BA 389:MK 39:IT 40:RO 41:CH 420:CZ"
        " 421:SK 423:LI 43:AT 44:GB 45:DK 46:SE 47:NO 48:PL 49:DE 500:FK 501:BZ 502:GT 503:SV 504:HN 505:NI 506:CR 507:PA 508:PM 509:HT 51:PE"
        " 52:MX 53:CU 54:AR 55:BR 56:CL 57:CO 58:VE 590:GP 591:BO 592:GY 593:EC 594:GF 595:PY 596:MQ 597:SR 598:UY 60:MY 61:AU 62:ID 63:PH"
        " 64:NZ 65:SG 66:TH 670:TL 673:BN 674:NR 675:PG 676:TO 677:SB 678:VU 679:FJ 680:PW 681:WF 682:CK 683:NU 685:WS 686:KI 687:NC 688:TV"
        " 689:PF 690:TK 691:FM 692:MH 7:RU 76:KZ 77:KZ 81:JP 82:KR 84:VN 850:KP 852:HK 853:MO 855:KH 856:LA 86:CN 880:BD 886:TW 90:TR 91:IN"
        " 92:PK 93:AF 94:LK 95:MM 960:MV 961:LB 962:JO 963:SY 964:IQ 965:KW 966:SA 967:YE 968:OM 970:PS 971:AE 972:IL 973:BH 974:QA 975:BT"
        " 976:MN 977:NP 98:IR 992:TJ 993:TM 994:AZ 995:GE 996:KG 998:UZ"
    ).split()
    for code, country in [pair.split(":")]
}
# Area codes of +1 outside the fifty states. A US area code names the country only: mobile numbers move with people, states do not.
_NANP = {
    area: country
    for country, areas in {
        "CA": "204 226 236 249 250 257 263 289 306 343 354 365 367 368 382 387 403 416 418 428 431 437 438 450 460 468 474 506 514 519 537 548"
        " 568 579 581 584 587 604 613 639 647 672 683 705 709 742 753 778 780 782 807 819 825 867 873 879 902 905 942",
        "PR": "787 939",
        "VI": "340",
        "GU": "671",
        "MP": "670",
        "AS": "684",
        "BS": "242",
        "BB": "246",
        "AI": "264",
        "AG": "268",
        "VG": "284",
        "KY": "345",
        "BM": "441",
        "GD": "473",
        "TC": "649",
        "JM": "658 876",
        "MS": "664",
        "SX": "721",
        "LC": "758",
        "DM": "767",
        "VC": "784",
        "DO": "809 829 849",
        "TT": "868",
        "KN": "869",
    }.items()
    for area in areas.split()
}
_PHONE_NOISE = re.compile(r"[\s().\-/\u00a0\u2010-\u2015]+")
PREFIX_DIGITS_MAX = 4  # +1 and an area code; the longest other calling code has 3


@functools.lru_cache(maxsize=PLACES_CACHED)
def country_of(text: str) -> str | None:
    """Return the ISO 3166-1 code of a country as shops write it, `EU` included; None if it is unknown or empty."""
    name = text.strip().upper()
    found = _COUNTRY_NAMES.get(name, name)
    return found if found in COUNTRIES else None


@functools.lru_cache(maxsize=PLACES_CACHED)
def place(country: str, region: str) -> str | None:
    """Return the jurisdiction of an address by its country and region; None if the country is unknown."""
    code = country_of(country)
    if code is None:
        return None
    if code in US_TERRITORIES:
        return f"US-{code}"
    if code not in _SUBDIVISIONS:
        return code
    part = " ".join(region.upper().split()).removeprefix(f"{code}-")
    subdivision = _SUBDIVISIONS[code].get(part)
    return code if subdivision is None else f"{code}-{subdivision}"


def calling_prefix(phone: str, default: str = "") -> str:
    """Return the leading digits of a number in international form, as many as decide the country; empty if it names none.

    `default` is the country of numbers without a prefix; only +1 countries can be told from such numbers.
    """
    digits = _PHONE_NOISE.sub("", phone)
    if digits.startswith("00"):
        digits = "+" + digits[2:]
    if not digits.startswith("+"):
        national = digits[1:] if len(digits) == 11 and digits.startswith("1") else digits
        if default not in ("US", "CA") or len(national) != 10:
            return ""
        digits = "+1" + national
    digits = digits[1:]
    return digits[:PREFIX_DIGITS_MAX] if digits.isascii() and digits.isdigit() else ""


@functools.lru_cache(maxsize=PLACES_CACHED)
def of_prefix(prefix: str) -> str | None:
    """Return the jurisdiction that a calling prefix names; None if it names none."""
    if prefix.startswith("1"):
        return place(_NANP.get(prefix[1:4], "US"), "") if len(prefix) == PREFIX_DIGITS_MAX else None
    for length in (3, 2, 1):
        if country := _CALLING.get(prefix[:length]):
            return place(country, "")
    return None


def residence(*, addresses: tuple[tuple[str, str, str], ...], phone: str = "", ip_country: str = "", phone_default: str = "") -> Residence:
    """Return where a person lives. `addresses` are (kind, country, region) in the order of ADDRESS_KINDS; empty text is unknown."""
    for kind, country, region in addresses:
        if country and (found := place(country, region)) is not None:
            return Residence(found, kind)
    if phone and (found := of_prefix(calling_prefix(phone, phone_default))) is not None:
        return Residence(found, "phone")
    if ip_country and (found := place(ip_country, "")) is not None:
        return Residence(found, "ip")
    return Residence(UNKNOWN, "none")
