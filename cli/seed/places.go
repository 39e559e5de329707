package seed

import (
	"slices"
	"strconv"
	"time"

	"firemode/collections"
)

type place struct {
	name, address, kind, jurisdiction, zone string
	storeys, built                          int
	organisation, owner                     string // tenant, and the owner's username
	contact, phone                          string
}

const (
	sydney, melbourne, brisbane = "Australia/Sydney", "Australia/Melbourne", "Australia/Brisbane"
	adelaide, perth, hobart     = "Australia/Adelaide", "Australia/Perth", "Australia/Hobart"
	darwin                      = "Australia/Darwin"
)

// places are 24 buildings; the first 16 are looked after by the contractor, the
// others by the owner's own staff.
var places = []place{
	{"Harbour Tower", "1 Quay Street, Sydney NSW 2000", "Class 5 office", "AU-NSW", sydney, 32, 1998, "contractor", "grace.lim", "Noel Baxter", "+61 2 5550 0201"},
	{"Wattle Court Apartments", "18 Wattle Street, Ultimo NSW 2007", "Class 2 residential", "AU-NSW", sydney, 11, 2009, "contractor", "grace.lim", "Irene Castle", "+61 2 5550 0202"},
	{"Parramatta Exchange", "140 Marsden Street, Parramatta NSW 2150", "Class 5 office", "AU-NSW", sydney, 18, 2004, "contractor", "grace.lim", "Karim Haddad", "+61 2 5550 0203"},
	{"Bluegum Private Hospital", "7 Hospital Road, Gosford NSW 2250", "Class 9a health care", "AU-NSW", sydney, 6, 1991, "contractor", "peter.walsh", "Sister Anne Doyle", "+61 2 5550 0204"},
	{"Kestrel Logistics Shed 4", "25 Distribution Drive, Eastern Creek NSW 2766", "Class 7b storage", "AU-NSW", sydney, 1, 2016, "contractor", "peter.walsh", "Milo Petrov", "+61 2 5550 0205"},
	{"Newcastle Maritime Hotel", "88 Wharf Road, Newcastle NSW 2300", "Class 3 hotel", "AU-NSW", sydney, 9, 1987, "contractor", "grace.lim", "Beth Rowan", "+61 2 5550 0206"},
	{"Collins Arcade", "310 Little Collins Street, Melbourne VIC 3000", "Class 6 retail", "AU-VIC", melbourne, 4, 1972, "contractor", "peter.walsh", "Luca Ferraro", "+61 3 5550 0207"},
	{"Yarra Terrace", "52 Church Street, Richmond VIC 3121", "Class 2 residential", "AU-VIC", melbourne, 14, 2018, "contractor", "grace.lim", "Hannah Blum", "+61 3 5550 0208"},
	{"Southbank Arts Centre", "9 Fanning Street, Southbank VIC 3006", "Class 9b assembly", "AU-VIC", melbourne, 5, 1984, "contractor", "peter.walsh", "Theo Marsh", "+61 3 5550 0209"},
	{"Geelong Wool Stores", "3 Brougham Street, Geelong VIC 3220", "Class 7b storage", "AU-VIC", melbourne, 3, 1928, "contractor", "peter.walsh", "Fay Connolly", "+61 3 5550 0210"},
	{"Riverside Plaza", "111 Eagle Street, Brisbane QLD 4000", "Class 5 office", "AU-QLD", brisbane, 27, 2001, "contractor", "grace.lim", "Jarrod Finch", "+61 7 5550 0211"},
	{"Coral Bay Resort", "2 Esplanade, Cairns QLD 4870", "Class 3 hotel", "AU-QLD", brisbane, 7, 1995, "contractor", "peter.walsh", "Tia Savage", "+61 7 5550 0212"},
	{"Toowoomba Grain Terminal", "60 Railway Street, Toowoomba QLD 4350", "Class 8 factory", "AU-QLD", brisbane, 2, 1979, "contractor", "peter.walsh", "Gus Heller", "+61 7 5550 0213"},
	{"Rundle Market Hall", "44 Rundle Street, Adelaide SA 5000", "Class 6 retail", "AU-SA", adelaide, 3, 1966, "contractor", "grace.lim", "Vera Stavrou", "+61 8 5550 0214"},
	{"Swan Point Offices", "6 Mounts Bay Road, Perth WA 6000", "Class 5 office", "AU-WA", perth, 21, 2012, "contractor", "peter.walsh", "Neil Drummond", "+61 8 5550 0215"},
	{"Salamanca Laboratories", "15 Castray Esplanade, Hobart TAS 7000", "Class 8 laboratory", "AU-TAS", hobart, 4, 2007, "contractor", "grace.lim", "Dr Iris Cole", "+61 3 5550 0216"},
	{"Harbourline House", "200 Bourke Street, Melbourne VIC 3000", "Class 5 office", "AU-VIC", melbourne, 16, 1989, "owner", "grace.lim", "Martin Shaw", "+61 3 5550 0217"},
	{"Docklands Quarter West", "18 Harbour Esplanade, Docklands VIC 3008", "Class 2 residential", "AU-VIC", melbourne, 24, 2014, "owner", "grace.lim", "Ella Novak", "+61 3 5550 0218"},
	{"Brunswick Works", "71 Albert Street, Brunswick VIC 3056", "Class 8 factory", "AU-VIC", melbourne, 2, 1954, "owner", "peter.walsh", "Omar Aziz", "+61 3 5550 0219"},
	{"Kings Domain Gallery", "4 Linlithgow Avenue, Melbourne VIC 3004", "Class 9b assembly", "AU-VIC", melbourne, 3, 1999, "owner", "peter.walsh", "Clare Whitby", "+61 3 5550 0220"},
	{"Ballarat Care Village", "30 Sturt Street, Ballarat VIC 3350", "Class 9c aged care", "AU-VIC", melbourne, 2, 2005, "owner", "grace.lim", "Ruth Ellery", "+61 3 5550 0221"},
	{"Mitchell Data Hall", "12 Lysaght Street, Mitchell ACT 2911", "Class 7b storage", "AU-ACT", sydney, 2, 2019, "owner", "peter.walsh", "Ingrid Voss", "+61 2 5550 0222"},
	{"Top End Freight Depot", "5 Berrimah Road, Darwin NT 0828", "Class 7b storage", "AU-NT", darwin, 1, 2003, "owner", "peter.walsh", "Joe Daly", "+61 8 5550 0223"},
	{"Fremantle Bond Store", "22 Cliff Street, Fremantle WA 6160", "Class 6 retail", "AU-WA", perth, 3, 1911, "owner", "grace.lim", "Sadie Kerr", "+61 8 5550 0224"},
}

// registered is when a building was entered, one a minute, so that lists by
// age or id keep the order of places.
func (m maker) registered(b place) time.Time {
	i := slices.IndexFunc(places, func(p place) bool { return p.name == b.name })
	return m.signedUp().Add(time.Duration(i) * time.Minute)
}

func (m maker) buildingID(b place) string {
	return m.id("building", b.name, m.registered(b))
}

// buildingRows gives each building the status that its open defects ask for.
func (m maker) buildingRows(status map[string]string) []row {
	var rows []row
	for i, b := range places {
		rows = append(rows, row{
			collection: collections.Buildings, id: m.buildingID(b), at: m.registered(b),
			values: map[string]any{
				collections.FieldName: b.name, collections.FieldAddress: b.address, collections.FieldBuildingType: b.kind,
				collections.FieldOwnerID: m.userID(b.owner), collections.FieldOrganisationID: m.organisationID(b.organisation),
				collections.FieldComplianceStatus: status[b.name], collections.FieldJurisdiction: b.jurisdiction, collections.FieldTimeZone: b.zone,
				collections.FieldContactName: b.contact, collections.FieldContactPhone: b.phone,
				collections.FieldContactEmail: "building" + strconv.Itoa(i+1) + "@facilities.test",
				collections.FieldMetadata:     map[string]any{"storeys": b.storeys, "year_built": b.built, "standard": "as1851-2012"},
			},
		})
	}
	return rows
}

// team are the two inspectors who test a building, one per device.
func (b place) team() [2]string {
	switch {
	case b.organisation == "owner":
		return [2]string{"sam.okafor", "mia.nguyen"}
	case b.jurisdiction == "AU-NSW" || b.jurisdiction == "AU-QLD":
		return [2]string{"mia.nguyen", "tom.kelly"}
	}
	return [2]string{"priya.sharma", "tom.kelly"}
}

// grantRows open each building to its team without end, every third one to the
// auditor for three months, and the first one to the alarm panel. One grant of
// the auditor has ended.
func (m maker) grantRows() []row {
	var rows []row
	add := func(b place, username string, from, until int) {
		values := map[string]any{
			collections.FieldBuildingID: m.buildingID(b), collections.FieldUserID: m.userID(username),
			collections.FieldStartsAt: m.daysAgo(from, 0), collections.FieldGrantedBy: m.userID(manager(b.organisation)),
		}
		if until < from {
			values[collections.FieldEndsAt] = m.daysAgo(until, 0)
		}
		rows = append(rows, row{
			collection: collections.BuildingGrants, id: m.id("grant", b.name+"/"+username, m.daysAgo(from, 0)),
			at: m.daysAgo(from, 0), values: values,
		})
	}
	for i, b := range places {
		for _, inspector := range b.team() {
			add(b, inspector, yearBefore, yearBefore)
		}
		switch {
		case i == 1:
			add(b, "ravi.menon", 200, 110)
		case i%3 == 0:
			add(b, "ravi.menon", 30, -60)
		}
		if i == 0 {
			add(b, "panel.gateway", yearBefore, yearBefore)
		}
	}
	return rows
}

// manager is who grants access for an organisation.
func manager(organisation string) string {
	for _, p := range people {
		if p.role == collections.RoleManager && p.organisation == organisation {
			return p.username
		}
	}
	return ""
}
