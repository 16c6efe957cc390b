"""Names and places for synthetic customers: common names, and where people live by rough weight. Written for the drill; nobody's data.

Phones lie in ranges kept for fiction: 555-0100 to 555-0199 in North America, Ofcom's and the Bundesnetzagentur's drama numbers, ARCEP's
01 99 00, ACMA's 5550. Where a country keeps no such range, customers have no phone.
"""

from __future__ import annotations

from dataclasses import dataclass

_FIRST_TEXT = """
James Mary Robert Patricia John Jennifer Michael Linda David Elizabeth William Barbara Richard Susan Joseph Jessica Thomas Sarah Charles
Karen Christopher Lisa Daniel Nancy Matthew Betty Anthony Margaret Mark Sandra Donald Ashley Steven Kimberly Paul Emily Andrew Donna
Joshua Michelle Kenneth Carol Kevin Amanda Brian Dorothy George Melissa Timothy Deborah Ronald Stephanie Edward Rebecca Jason Sharon
Jeffrey Laura Ryan Cynthia Jacob Kathleen Gary Amy Nicholas Angela Eric Shirley Jonathan Anna Stephen Brenda Larry Pamela Justin Emma
Scott Nicole Brandon Helen Benjamin Samantha Samuel Katherine Gregory Christine Alexander Debra Frank Rachel Patrick Carolyn Raymond Janet
Jack Catherine Dennis Maria Jerry Heather Tyler Diane Aaron Ruth Jose Julie Adam Olivia Nathan Joyce Henry Virginia Zachary Victoria
Douglas Kelly Peter Lauren Kyle Christina Noah Joan Ethan Evelyn Jeremy Judith Walter Megan Christian Andrea Keith Cheryl Roger Hannah
Terry Jacqueline Austin Martha Sean Gloria Gerald Teresa Carl Ann Harold Sara Dylan Madison Arthur Frances Lawrence Kathryn Jordan Janice
Jesse Jean Bryan Abigail Billy Alice Bruce Julia Gabriel Judy Joe Sophia Logan Grace Alan Denise Juan Amber Albert Doris Willie Marilyn
Elijah Danielle Wayne Beverly Randy Isabella Vincent Theresa Mason Diana Roy Natalie Ralph Brittany Bobby Charlotte Russell Marie Bradley
Kayla Philip Alexis Eugene Lori Wei Mei Jing Hiroshi Yuki Priya Arjun Anjali Ravi Fatima Omar Layla Ahmed Aisha Kwame Amara Chidi Ngozi
Siobhán Aoife José María Sofía Mateo Camila Diego Lucía João Beatriz Jürgen Annika Stefan Heike Zoë Chloé François Amélie Björn Ingrid
Søren Agnieszka Piotr Katarzyna Dmitri Olga Yusuf Elif Mehmet Leila
"""
FIRST = tuple(_FIRST_TEXT.split())

_LAST_TEXT = """
Smith Johnson Williams Brown Jones Garcia Miller Davis Rodriguez Martinez Hernandez Lopez Gonzalez Wilson Anderson Thomas Taylor Moore
Jackson Martin Lee Perez Thompson White Harris Sanchez Clark Ramirez Lewis Robinson Walker Young Allen King Wright Scott Torres Nguyen
Hill Flores Green Adams Nelson Baker Hall Rivera Campbell Mitchell Carter Roberts Gomez Phillips Evans Turner Diaz Parker Cruz Edwards
Collins Reyes Stewart Morris Morales Murphy Cook Rogers Gutierrez Ortiz Morgan Cooper Peterson Bailey Reed Kelly Howard Ramos Kim Cox Ward
Richardson Watson Brooks Chavez Wood James Bennett Gray Mendoza Ruiz Hughes Price Alvarez Castillo Sanders Patel Myers Long Ross Foster
Jimenez Powell Jenkins Perry Russell Sullivan Bell Coleman Butler Henderson Barnes Gonzales Fisher Vasquez Simmons Romero Jordan Patterson
Alexander Hamilton Graham Reynolds Griffin Wallace Moreno West Cole Hayes Bryant Herrera Gibson Ellis Tran Medina Aguilar Stevens Murray
Ford Castro Marshall Owens Harrison Fernandez McDonald Woods Washington Kennedy Wells Vargas Henry Chen Freeman Webb Tucker Guzman Burns
Crawford Olson Simpson Porter Hunter Gordon Mendez Silva Shaw Snyder Mason Dixon Munoz Hunt Hicks Holmes Palmer Wagner Black Robertson
Boyd Rose Stone Salazar Fox Warren Mills Meyer Rice Schmidt Garza Daniels Ferguson Nichols Stephens Soto Weaver Ryan Gardner Payne Grant
Dunn Kelley Spencer Hawkins O'Brien O'Connor D'Angelo Schröder Müller Weiß Schäfer Dubois Lefèvre Moreau Côté Bélanger Núñez Peña Oliveira
Gonçalves Kowalski Wiśniewski Nowak Novák Andersson Jørgensen Yamamoto Tanaka Sato Singh Kaur Sharma Gupta Khan Hussain Hassan Okafor
Adeyemi Mensah Haddad Cohen Levy Rossi Bianchi Papadopoulos Yılmaz
"""
LAST = tuple(_LAST_TEXT.split())

_STREETS_TEXT = """
Main Oak Maple Cedar Elm Pine Washington Lake Hill Walnut Spring Park Ridge Church Mill River Franklin Jefferson Chestnut Highland Sunset
Prospect Meadow Forest Union Lincoln Jackson Madison Cherry Dogwood Willow Locust Center School Second Third Fourth Fifth Sixth Seventh
Broad Market
"""
STREETS = tuple(_STREETS_TEXT.split())
KINDS = ("St", "Ave", "Rd", "Dr", "Ln", "Ct", "Blvd", "Way")


@dataclass(frozen=True, slots=True)
class Place:
    """One jurisdiction: its weight in its group, towns with the head of their postcodes, an area code where phones are kept."""

    country: str
    region: str
    weight: int
    towns: tuple[tuple[str, str], ...]
    area: str
    locale: str

    @property
    def jurisdiction(self) -> str:
        """Return the code the obligations use: a subdivision for the United States and Canada, the country elsewhere."""
        return f"{self.country}-{self.region}" if self.country in {"US", "CA"} else self.country


# region weight area town:zip3 …     weights: residents in tens of thousands, rounded (census of 2010)
_STATES = """
AL 478 205 Birmingham:352 Mobile:366|AK 71 907 Anchorage:995 Juneau:998|AZ 639 602 Phoenix:850 Tucson:857
AR 292 501 Little_Rock:722 Fayetteville:727|CA 3725 213 Los_Angeles:900 San_Diego:921 San_Jose:951 Sacramento:958 Fresno:937
CO 503 303 Denver:802 Boulder:803|CT 357 203 Hartford:061 Stamford:069|DE 90 302 Wilmington:198 Dover:199|DC 60 202 Washington:200
FL 1880 305 Miami:331 Tampa:336 Orlando:328 Jacksonville:322|GA 969 404 Atlanta:303 Savannah:314|HI 136 808 Honolulu:968
ID 157 208 Boise:837|IL 1283 312 Chicago:606 Springfield:627 Peoria:616|IN 648 317 Indianapolis:462 Fort_Wayne:468
IA 305 515 Des_Moines:503 Cedar_Rapids:524|KS 285 316 Wichita:672 Topeka:666|KY 434 502 Louisville:402 Lexington:405 Shepherdsville:401
LA 453 504 New_Orleans:701 Baton_Rouge:708|ME 133 207 Portland:041 Bangor:044|MD 577 410 Baltimore:212 Annapolis:214
MA 655 617 Boston:021 Worcester:016|MI 988 313 Detroit:482 Grand_Rapids:495 Lansing:489|MN 530 612 Minneapolis:554 Duluth:558
MS 297 601 Jackson:392 Biloxi:395|MO 599 314 Saint_Louis:631 Kansas_City:641|MT 99 406 Billings:591 Missoula:598
NE 183 402 Omaha:681 Lincoln:685|NV 270 702 Las_Vegas:891 Henderson:890 Reno:895|NH 132 603 Manchester:031 Concord:033
NJ 879 201 Newark:071 Trenton:086 Camden:081|NM 206 505 Albuquerque:871 Santa_Fe:875
NY 1938 212 New_York:100 Brooklyn:112 Buffalo:142 Albany:122|NC 954 704 Charlotte:282 Raleigh:276 Durham:277
ND 67 701 Fargo:581 Bismarck:585|OH 1154 216 Cleveland:441 Columbus:432 Cincinnati:452|OK 375 405 Oklahoma_City:731 Tulsa:741
OR 383 503 Portland:972 Eugene:974|PA 1270 215 Philadelphia:191 Pittsburgh:152 Scranton:185|RI 105 401 Providence:029
SC 463 803 Columbia:292 Charleston:294|SD 81 605 Sioux_Falls:571|TN 635 615 Nashville:372 Memphis:381 Knoxville:379
TX 2515 214 Dallas:752 Houston:770 Austin:787 San_Antonio:782 El_Paso:799|UT 276 801 Salt_Lake_City:841 Provo:846|VT 63 802 Burlington:054
VA 800 804 Richmond:232 Norfolk:235 Arlington:222|WA 672 206 Seattle:981 Spokane:992 Tacoma:984|WV 185 304 Charleston:253 Morgantown:265
WI 569 414 Milwaukee:532 Madison:537 Green_Bay:543|WY 56 307 Cheyenne:820
"""


def _states() -> tuple[Place, ...]:
    places = []
    for entry in _STATES.strip().replace("\n", "|").split("|"):
        region, weight, area, *towns = entry.split()
        pairs = tuple((name.replace("_", " "), head) for name, _, head in (town.partition(":") for town in towns))
        places.append(Place("US", region, int(weight), pairs, area, "en-US"))
    return tuple(places)


STATES = _states()
ABROAD = (
    Place("CA", "ON", 260, (("Toronto", "M5V"), ("Ottawa", "K1P"), ("London", "N6A")), "416", "en-CA"),
    Place("CA", "QC", 150, (("Montréal", "H2X"), ("Québec", "G1R")), "514", "fr-CA"),
    Place("CA", "BC", 90, (("Vancouver", "V6B"), ("Victoria", "V8W")), "604", "en-CA"),
    Place("CA", "AB", 80, (("Calgary", "T2P"), ("Edmonton", "T5J")), "403", "en-CA"),
    Place("GB", "ENG", 130, (("London", "SE1"), ("Manchester", "M1"), ("Leeds", "LS1")), "44", "en-GB"),
    Place("GB", "SCT", 20, (("Glasgow", "G1"), ("Edinburgh", "EH1")), "44", "en-GB"),
    Place("IE", "D", 20, (("Dublin", "D02"),), "", "en-IE"),
    Place("DE", "BY", 40, (("München", "803"), ("Nürnberg", "904")), "49", "de-DE"),
    Place("DE", "NW", 40, (("Köln", "506"), ("Dortmund", "441")), "49", "de-DE"),
    Place("FR", "IDF", 50, (("Paris", "750"),), "33", "fr-FR"),
    Place("ES", "MD", 20, (("Madrid", "280"),), "", "es-ES"),
    Place("IT", "25", 20, (("Milano", "201"),), "", "it-IT"),
    Place("NL", "NH", 20, (("Amsterdam", "101"),), "", "nl-NL"),
    Place("SE", "AB", 15, (("Stockholm", "111"),), "", "sv-SE"),
    Place("AU", "NSW", 60, (("Sydney", "20"), ("Newcastle", "23")), "61", "en-AU"),
    Place("BR", "SP", 25, (("São Paulo", "010"), ("Campinas", "130")), "", "pt-BR"),
    Place("JP", "13", 25, (("Tokyo", "100"),), "", "ja-JP"),
    Place("MX", "CMX", 20, (("Ciudad de México", "060"),), "", "es-MX"),
)

DOMAINS = (  # reserved by RFC 2606 and 6761, with weights; several play large providers
    ("mail.example", 30), ("post.example", 18), ("inbox.example", 12), ("webmail.example", 9), ("cable.example", 6), ("letters.example", 4),
    ("example.com", 7), ("example.net", 5), ("example.org", 4), ("city.example", 2), ("campus.example", 2), ("works.example", 1),
)
