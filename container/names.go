package container

import (
	"math/rand/v2"
	"regexp"
	"strconv"
	"strings"

	"hoy/lib/fault"
)

var validName = regexp.MustCompile(`^/?[a-zA-Z0-9][a-zA-Z0-9_.-]+$`)

// checkName returns name without its leading slash, or an error in docker's words.
func checkName(name string) (string, error) {
	if !validName.MatchString(name) {
		return "", fault.New(fault.Invalid, "Invalid container name (%s), only %s are allowed", name, "[a-zA-Z0-9][a-zA-Z0-9_.-]")
	}
	return strings.TrimPrefix(name, "/"), nil
}

// How it is and what sails: a name like "brisk_lugger".
var (
	tempers = strings.Fields(`able afloat alert ardent brave breezy bright brisk buoyant calm candid
		cheery clear clever cosy daring deft eager easy fair fearless fleet fresh frisky gallant
		gentle glad golden hardy hasty heady honest humble jaunty jolly keen kind light lively lofty
		loyal lucky merry mighty neat nimble noble patient plucky polite proud quick quiet ready
		restful rolling sandy serene sharp shiny silent sleek smart snug sober steady still sturdy
		sunny sure swift tidy tranquil trim trusty upright valiant vivid warm wary wily wise witty`)
	vessels = strings.Fields(`barge bark barque bireme boat brig brigantine canoe caravel carrack
		catboat catamaran clipper coaster cog collier coracle corvette cruiser curragh cutter dhow
		dinghy dogger dory drifter felucca ferry frigate galleass galleon galley gig gondola
		hulk hoy junk kayak ketch knarr launch lifeboat lighter liner longboat lorcha lugger
		nef outrigger packet pilot pinnace pinky pram proa punt raft sampan schooner scow sharpie
		shallop skiff sloop smack snow steamer tartane tender trawler trimaran trireme tug
		wherry whaler xebec yacht yawl`)
)

// randomName makes a name; from the fourth try on it carries a number, so that
// an engine with many containers still finds one.
func randomName(try int) string {
	n := tempers[rand.IntN(len(tempers))] + "_" + vessels[rand.IntN(len(vessels))]
	if try > 2 {
		n += strconv.Itoa(rand.IntN(1 << min(try*3, 30)))
	}
	return n
}
