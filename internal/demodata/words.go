package demodata

// colours are the variants of what comes in colours.
var colours = []string{
	"Slate Grey", "Midnight Blue", "Forest Green", "Sand", "Charcoal", "Off-White", "Burgundy", "Mustard", "Black", "Sky Blue",
	"Terracotta", "Olive", "Plum", "Stone", "Teal", "Rose",
}

// brandHeads and brandTails make invented brands.
var brandHeads = []string{
	"Ald", "Brenn", "Corb", "Dunm", "Elsw", "Farr", "Grist", "Holl", "Ivar", "Jorv", "Kestr", "Lund", "Marl", "Norr", "Ost", "Penr",
	"Quill", "Rusk", "Sorr", "Tarn", "Ulv", "Vald", "Wend", "Yarr",
}

var brandTails = []string{
	"ova", "ane", "uvel", "ode", "ennet", "enza", "ora", "umbe", "orim", "esk", "olin", "aven", "ilo", "ark", "umi", "eth", "onda",
	"ix", "ume", "elle",
}

// series are names of models that say nothing about the product.
var series = []string{
	"Aldis", "Ambrel", "Anvor", "Arden", "Astor", "Avalin", "Belmar", "Benta", "Birk", "Bolder", "Brisa", "Calder", "Callan", "Camber",
	"Caspen", "Cedra", "Cirra", "Corin", "Dalen", "Darrow", "Delphin", "Dorne", "Edda", "Elara", "Elden", "Elmar", "Enso", "Esker",
	"Fairlie", "Fenn", "Finch", "Fjella", "Galen", "Garnet", "Glen", "Hadley", "Halden", "Haven", "Hesper", "Idris", "Ilsa", "Inga",
	"Isla", "Juno", "Kalma", "Karst", "Kelda", "Kite", "Lark", "Lenna", "Linden", "Lomond", "Lumen", "Lyra", "Maren", "Mira", "Mistral",
	"Morven", "Nadir", "Nessa", "Nevis", "Nordal", "Oaken", "Odell", "Olin", "Orla", "Orrin", "Otter", "Pavo", "Petrel", "Pico",
	"Pinto", "Quarto", "Raven", "Reed", "Rigel", "Rilla", "Roan", "Rook", "Rowan", "Sabel", "Saga", "Selkie", "Senna", "Sibley",
	"Skerry", "Solan", "Sorrel", "Sula", "Talon", "Tamsin", "Tarka", "Teasel", "Terra", "Thalia", "Thrift", "Tilda", "Torrin", "Tova",
	"Turin", "Ursa", "Vale", "Varga", "Vega", "Vesper", "Vidar", "Viola", "Wilder", "Willet", "Wren", "Yarrow", "Ylva", "Yule", "Zander",
	"Zephyr", "Zinnia", "Corvus", "Dunlin", "Merle", "Perth",
}

// openings and sentences have slots in braces: kind, noun, made, has, for, who, with. They read
// well for one thing and for a pair.
var openings = []string{
	"{kind} {noun} made from {made}.",
	"{kind} {noun} with {has}.",
	"{kind} {noun} built for {for}.",
	"{kind} {noun} for {who}, made from {made}.",
	"{kind} {noun} with {has} and {has}.",
	"{noun} for {for}, with {has}.",
	"{kind} {noun}, made from {made} for {for}.",
}

var sentences = []string{
	"Made from {made}.",
	"Features {has} and {has}.",
	"With {has}, {has} and {has}.",
	"Well suited to {for}.",
	"Ideal for {for} and {for}.",
	"A good choice for {for}.",
	"Great for {for}, and just as good for {for}.",
	"Popular with {who}.",
	"Made with {who} in mind.",
	"Highlights: {has} and {has}.",
	"What makes the difference: {has}.",
	"Comes with {with}.",
	"Includes {with} and {with}.",
	"You also get {with}.",
}

// closings fit things that last, freshClosings what is used up.
var closings = []string{
	"Backed by a two-year guarantee.",
	"Packed without plastic.",
	"Free returns within thirty days.",
	"Designed in a small family workshop.",
	"New this season.",
	"Ships within one working day.",
	"Tested by an independent laboratory.",
	"Spare parts are available for ten years.",
}

var freshClosings = []string{
	"Packed without plastic.",
	"Made in small batches.",
	"Free of artificial colours.",
	"Best kept in a cool dry place.",
	"Back in stock.",
	"Ships within one working day.",
	"Checked by an independent laboratory.",
	"From a family business.",
}

// usedUp names the categories that take freshClosings.
var usedUp = []string{
	"Car Care", "Chocolates", "Coffee Beans", "Dog Food", "Face Creams", "Olive Oils", "Shampoos", "Teas", "Wall Paints",
}
