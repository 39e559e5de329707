package seed

import (
	"encoding/json"
	"math/rand/v2"
	"strconv"
)

// check is one thing tested at a visit, under one starter rule.
type check struct {
	rule   string // code without its prefix
	title  string
	yearly bool // tested at the annual visit only
	good   func(r *rand.Rand) reading
	bad    func(r *rand.Rand) reading
}

// reading is what an inspector found: the rule's inputs, the clause that the
// rule decides by, and the value that stands in the document.
type reading struct {
	inputs map[string]any
	clause int    // index into the rule's decide list; -1 is its else
	value  string // canonical JSON of the measured value, or "" when there is none
	text   string // as an inspector would write it
}

func (c check) code() string { return rulePrefix + c.rule }

const rulePrefix = "AS1851-2012-"

// passed is the clause of a reading that meets every condition.
const passed = -1

// number is a JSON number with its digits kept.
func number(x float64, decimals int) json.Number {
	return json.Number(strconv.FormatFloat(x, 'f', decimals, 64))
}

// between picks a number with its digits from [low, high).
func between(r *rand.Rand, low, high float64, decimals int) json.Number {
	return number(low+r.Float64()*(high-low), decimals)
}

// measured is a quantity as documents hold it: digits as text, unit beside it.
func measured(q json.Number, unit string) string {
	return `{"q":"` + q.String() + `","u":"` + unit + `"}`
}

// yesNo makes both readings of a check without a measurement: good sets the
// inputs of a pass; each of bad, merged into it, leads to its clause.
func yesNo(good map[string]any, bad ...fault) (func(*rand.Rand) reading, func(*rand.Rand) reading) {
	return func(*rand.Rand) reading { return reading{inputs: good, clause: passed, text: "in order"} },
		func(r *rand.Rand) reading {
			f := bad[r.IntN(len(bad))]
			inputs := map[string]any{}
			for k, v := range good {
				inputs[k] = v
			}
			for k, v := range f.inputs {
				inputs[k] = v
			}
			return reading{inputs: inputs, clause: f.clause, text: f.text}
		}
}

type fault struct {
	inputs map[string]any
	clause int
	text   string
}

// quantity makes both readings of a check that measures one input against
// fixed others.
func quantity(name, unit string, decimals int, others map[string]any, goodLow, goodHigh, badLow, badHigh float64, clause int) (func(*rand.Rand) reading, func(*rand.Rand) reading) {
	read := func(low, high float64, clause int) func(*rand.Rand) reading {
		return func(r *rand.Rand) reading {
			q := between(r, low, high, decimals)
			inputs := map[string]any{name: q}
			for k, v := range others {
				inputs[k] = v
			}
			return reading{inputs: inputs, clause: clause, value: measured(q, unit), text: q.String() + " " + unit}
		}
	}
	return read(goodLow, goodHigh, passed), read(badLow, badHigh, clause)
}

func newCheck(rule, title string, yearly bool) func(good, bad func(*rand.Rand) reading) check {
	return func(good, bad func(*rand.Rand) reading) check { return check{rule, title, yearly, good, bad} }
}

// in is the inputs of a reading.
type in = map[string]any

// checks are what the demo visits test, a part of the starter rules.
var checks = []check{
	newCheck("SK-01", "Sprinkler stop valve", false)(yesNo(in{"valve_open": true, "valve_secured": true, "valve_monitored": true},
		fault{in{"valve_open": false}, 0, "stop valve found shut"}, fault{in{"valve_secured": false}, 1, "strap missing from the stop valve"})),
	newCheck("SK-03", "Sprinkler supply pressure", false)(quantity("supply_kpa", "kPa", 0, in{"baseline_kpa": number(900, 0), "design_min_kpa": number(700, 0)}, 850, 930, 720, 800, 1)),
	newCheck("FD-01", "Fire indicator panel", false)(yesNo(in{"panel_operative": true, "fault_shown": false},
		fault{in{"panel_operative": false}, 0, "panel dead, mains fuse blown"}, fault{in{"fault_shown": true}, 1, "earth fault on loop 2"})),
	newCheck("FD-05", "Isolated zones", false)(yesNo(in{"isolated_without_permit": 0},
		fault{in{"isolated_without_permit": 1}, 0, "zone 4 isolated, no permit on site"})),
	newCheck("WT-01", "Fire water tank level", false)(quantity("level_pct", "%", 0, in{"make_up_works": true}, 100, 102, 91, 98, 1)),
	newCheck("PS-02", "Diesel pump battery", false)(quantity("battery_v", "V", 1, in{"engine_cranks": true, "fuel_pct": number(97, 0), "battery_min_v": number(24, 1), "coolant_ok": true}, 24.6, 26.4, 22.1, 23.6, 1)),
	newCheck("FE-01", "Extinguishers, level 1", false)(yesNo(in{"present": true, "accessible": true, "seal_intact": true, "gauge_in_band": true, "only_unit_for_special_hazard": false},
		fault{in{"gauge_in_band": false}, 1, "level 3 unit at the lift has lost pressure"}, fault{in{"accessible": false}, 1, "unit behind stored furniture"})),
	newCheck("HR-01", "Hose reels", false)(yesNo(in{"accessible": true, "operates": true, "leaks": false},
		fault{in{"leaks": true}, 0, "reel on level 2 drips at the valve"})),
	newCheck("HY-01", "Hydrants and booster", false)(yesNo(in{"valves_seized": 0, "caps_missing": 0, "booster_accessible": true, "block_plan_present": true},
		fault{in{"block_plan_present": false}, 2, "block plan not displayed"}, fault{in{"caps_missing": 2}, 1, "two caps missing"})),
	newCheck("EL-01", "Exit signs, discharge", false)(quantity("minutes_lit", "min", 0, in{"rated_min": number(90, 0), "only_in_space": false}, 92, 130, 35, 85, 1)),
	newCheck("PF-01", "Fire doors", true)(yesNo(in{"closes": true, "latches": true, "in_fire_isolated_stair": true},
		fault{in{"latches": false}, 0, "stair 1 door on level 7 does not latch"})),
	newCheck("SP-01", "Stair pressure difference", true)(quantity("pressure_pa", "Pa", 1, in{"min_pa": number(20, 0), "max_pa": number(80, 0)}, 28, 66, 11, 18, 1)),
	newCheck("SP-03", "Stair door opening force", true)(quantity("force_n", "N", 1, in{}, 62, 96, 112, 138, 0)),
	newCheck("HY-02", "Hydrant flow", true)(quantity("flow_lps", "L/s", 1, in{"residual_kpa": number(320, 0), "required_flow_lps": number(10, 1), "required_residual_kpa": number(200, 0)}, 10.4, 13, 7.2, 9.6, 0)),
	newCheck("FD-06", "Occupant warning level", true)(quantity("level_dba", "dB(A)", 1, in{"ambient_dba": number(52, 1), "at_bedhead": false, "silent_area": false}, 68, 84, 55, 61, 1)),
	newCheck("RC-01", "Baseline data", true)(yesNo(in{"items_required": 14, "items_available": 14},
		fault{in{"items_available": 12}, 0, "two gauge schedules missing"})),
}
