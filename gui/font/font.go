// Package font has the letters that the toolkit's own fonts lack: Japanese, as far as its words and most names go (JIS X
// 0208, level 1). They come from Noto Sans CJK JP, under the SIL Open Font License (OFL.txt); make.sh says how.
package font

import _ "embed"

//go:embed AditJapanese-Regular.otf
var regular []byte

//go:embed AditJapanese-Bold.otf
var bold []byte

// Japanese is the regular font, an OpenType file. It is not to be changed.
func Japanese() []byte { return regular }

// JapaneseBold is the bold font.
func JapaneseBold() []byte { return bold }
