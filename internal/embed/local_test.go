package embed

import (
	"context"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// Each pair says one thing in two ways with no content word in common. The constants of the model were chosen on
// the development pairs; the held-out pairs only judge it.
var developmentPairs = [][2]string{
	{"how do I reset my password", "change a forgotten login credential"},
	{"employee vacation policy", "holiday and leave rules for staff"},
	{"car engine trouble", "automobile motor breakdown"},
	{"medical records privacy", "confidentiality of patient health files"},
	{"server storage is full", "the disk of the computer has no space"},
	{"The physician treated the sick", "A doctor cured an ill person in the clinic"},
	{"The attorney filed a lawsuit", "A lawyer brought a legal case before the judge"},
	{"we baked bread", "cakes and loaves come from the kitchen oven"},
	{"who may sign contracts", "authority to conclude agreements"},
	{"price of the flight", "cost of travelling by airplane"},
	{"the boat sank in a storm", "a ship went under during bad weather"},
	{"children learn arithmetic at school", "pupils are taught mathematics in class"},
	{"robbers stole jewels", "thieves took precious stones"},
	{"monthly salary", "wages and pay of an employee"},
	{"fire in the building", "flames and smoke, evacuate the house"},
	{"plants need water", "irrigation of crops in the garden"},
	{"the film was boring", "a dull movie"},
	{"backup of the database", "copying stored data to keep it from loss"},
	{"the king died", "death of the monarch"},
	{"customer complaint", "a client is dissatisfied and protests"},
}

var heldOutPairs = [][2]string{
	{"refund for a damaged product", "money back when goods arrive broken"},
	{"termination of employment", "dismissal of a worker from the job"},
	{"physical exercise is healthy", "sport and fitness keep the body well"},
	{"tax return deadline", "last date for declaring income to the revenue office"},
	{"encryption of messages", "secret coding of correspondence"},
	{"poisonous snake", "venomous serpent"},
	{"buying a house", "purchase of a home"},
	{"the soldiers attacked the town", "troops assaulted the city"},
	{"hiring new personnel", "recruit additional employees"},
	{"earthquake destroyed the village", "seismic tremor ruined a small settlement"},
	{"loud music at night", "noisy songs in the evening"},
	{"bank loan interest", "rate a lender charges on borrowed money"},
	{"broken leg", "fracture of a limb bone"},
	{"the teacher praised the student", "an instructor commended the pupil"},
	{"wine and beer", "alcoholic drinks"},
	{"error in the program", "software bug"},
	{"minutes of the meeting", "record of what the assembly discussed"},
	{"delivery of the parcel was late", "the package shipment had a delay"},
	{"rainy climate", "wet weather with precipitation"},
	{"hospital nurse", "medical care attendant for patients"},
	{"election of the president", "voting for a head of state"},
	{"fear of spiders", "phobia about arachnids"},
	{"keys to the office", "opening the lock of the workplace door"},
	{"cheap hotel room", "inexpensive lodging"},
	{"trees in the forest", "wood with many oaks"},
}

func local(tb testing.TB) *Local {
	tb.Helper()
	l, err := NewLocal()
	require.NoError(tb, err)
	return l
}

func embedAll(tb testing.TB, e Embedder, texts ...string) [][]float32 {
	tb.Helper()
	v, err := e.Embed(context.Background(), texts)
	require.NoError(tb, err)
	require.Len(tb, v, len(texts))
	return v
}

// hits counts the pairs whose halves are nearest to each other, and the mean reciprocal rank of the right half.
func hits(tb testing.TB, e Embedder, pairs [][2]string) (first int, mrr float64) {
	tb.Helper()
	var q, d []string
	for _, p := range pairs {
		q, d = append(q, p[0]), append(d, p[1])
	}
	qv, dv := embedAll(tb, e, q...), embedAll(tb, e, d...)
	for i := range qv {
		rank := 1
		for j := range dv {
			if Cosine(qv[i], dv[j]) > Cosine(qv[i], dv[i]) {
				rank++
			}
		}
		if rank == 1 {
			first++
		} else if testing.Verbose() {
			tb.Logf("rank %d: %s", rank, q[i])
		}
		mrr += 1 / float64(rank) / float64(len(pairs))
	}
	return first, mrr
}

func TestLocal_Meaning(t *testing.T) {
	l := local(t)
	first, mrr := hits(t, l, developmentPairs)
	t.Logf("development: %d of %d first, mrr %.3f", first, len(developmentPairs), mrr)
	first, mrr = hits(t, l, heldOutPairs)
	t.Logf("held out: %d of %d first, mrr %.3f", first, len(heldOutPairs), mrr)
	// By chance: 1 of 25 first, mrr 0.15.
	require.GreaterOrEqual(t, first, 22)
	require.Greater(t, mrr, 0.9)
}

func TestLocal_Neighbours(t *testing.T) {
	l := local(t)
	for _, c := range [][3]string{ // the first is nearer to the second than to the third
		{"doctor", "physician", "carpenter"}, {"boat", "ship", "democracy"}, {"lawyer", "attorney", "banana"},
		{"mice", "mouse", "house"}, {"policies", "policy", "police"}, {"purchased", "buy", "sleep"},
		{"encrypting", "cipher", "painting"}, {"misconfigured", "configuration", "butterfly"},
		{"timesheets", "hour", "animal"}, {"payslip", "salary", "snake"}, {"cardiologists", "heart", "tax"},
	} {
		v := embedAll(t, l, c[:]...)
		require.Greater(t, Cosine(v[0], v[1]), Cosine(v[0], v[2]), "%v", c)
	}
}

func TestLocal_Spelling(t *testing.T) {
	l := local(t)
	for _, c := range [][3]string{
		{"Xyzzyplugh", "the Xyzzyplugh account", "the Foobarbaz account"},
		{"INV-2024-00317", "invoice INV-2024-00317", "invoice INV-2023-11942"},
		{"Грузоперевозки", "грузоперевозка", "бухгалтерия"},
		{"東京都の人口", "東京都", "大阪府"},
		{"ﬁle", "file", "cat"}, // a ligature
	} {
		v := embedAll(t, l, c[:]...)
		require.Greater(t, Cosine(v[0], v[1]), Cosine(v[0], v[2])+0.05, "%v", c)
	}
}

func FuzzLocal(f *testing.F) {
	for _, s := range []string{"", " ", "a", "'s", "x's 's's", "\x00\xff\xfe", "日本語", "🙂🙂", strings.Repeat("a", 300), "<>", "e\u0301", strings.Repeat("'", 99)} {
		f.Add(s)
	}
	l := local(f)
	f.Fuzz(func(t *testing.T, s string) {
		var sum float64
		for _, x := range embedAll(t, l, s)[0] {
			sum += float64(x) * float64(x)
		}
		require.InDelta(t, 1, sum, 1e-5) // false for NaN
		for w := range Words(s) {
			require.True(t, utf8.ValidString(w) && len(w) > 0 && len(w) <= maxWord+utf8.UTFMax-1, "%q", w)
		}
	})
}

func TestWords(t *testing.T) {
	for in, want := range map[string]string{
		"The Company's don’t-care PLAN, 42!": "the company dont care plan 42",
		"'quoted' rock'n'roll its'":          "quoted rocknroll its",
		"James' cat’s":                       "james cat",
		"x's":                                "x",
		"":                                   "",
	} {
		var got []string
		for w := range Words(in) {
			got = append(got, w)
		}
		require.Equal(t, want, strings.Join(got, " "), in)
	}
}

func TestOpenTable_Damaged(t *testing.T) {
	rows := []Row{{"one", []float32{1, 0}}, {"two", []float32{0, -2}}}
	b, err := Pack(rows, []Row{{"", []float32{1, 1}}}, 2, 3)
	require.NoError(t, err)
	tab, err := openTable(string(b))
	require.NoError(t, err)
	i, ok := tab.find("two")
	require.True(t, ok)
	v := make([]float32, 2)
	tab.addWord(v, i)
	require.InDeltaSlice(t, []float32{0, -2}, v, 0.02)
	_, ok = tab.find("three")
	require.False(t, ok)
	for n := range b {
		_, err := openTable(string(b[:n]))
		require.Error(t, err)
	}
	_, err = openTable(string(append(b, 0)))
	require.Error(t, err)
}

func BenchmarkLocal(b *testing.B) {
	l := local(b)
	s := []string{"The physician treated the patient at the hospital and filed a report about Xyzzy"}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := l.Embed(context.Background(), s); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkLocal_Chunk(b *testing.B) {
	l := local(b)
	var sb strings.Builder
	r := rand.New(rand.NewPCG(1, 2))
	for range 250 {
		sb.WriteString(l.t.word(r.IntN(l.t.words)) + " ")
	}
	s := []string{sb.String()}
	for b.Loop() {
		if _, err := l.Embed(context.Background(), s); err != nil {
			b.Fatal(err)
		}
	}
}
