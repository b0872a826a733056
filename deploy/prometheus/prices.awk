# Makes the price rules of the dashboard of money out of a price list in the long form (docs/prices.md):
#
#   awk -f prices.awk ../prices/azure-openai-global-standard.csv > prices.rules.yaml
#
# Metrics know deployment and model alone. So it takes the lines that say no more than a model: text tokens, the default
# tier, now. What it leaves out it counts at the end. `tokenweir report --prices` knows all columns.
BEGIN { FS = "," }
{ sub(/\r$/, "") }
/^#/ || /^ *$/ { next }
/"/ { print FILENAME ":" FNR ": quotes are not read here" > "/dev/stderr"; failed = 1; exit 1 }
!columns {
    for (i = 1; i <= NF; i++) column[$i] = i
    columns = NF
    if (!column["model"] || !column["class"] || !column["price"] || !column["currency"]) {
        print FILENAME ": a list in the long form has model, class, price and currency" > "/dev/stderr"
        failed = 1
        exit 1
    }
    print "# Written by prices.awk: what one token costs. Check it against your agreement."
    print "groups:"
    print "  - name: tokenweir-prices"
    print "    interval: 1m"
    print "    rules:"
    next
}
function value(name) { return column[name] ? $column[name] : "" }
function says_more(    name, i, names) {
    split("deployment resource region speed inference_geo size quality provider to", names, " ")
    for (i in names) if (value(names[i]) != "") return 1
    return value("model") ~ /\*/
}
{
    tier = value("service_tier")
    plain = value("class") ~ /^(input_uncached|input_cached|output_text)$/ && (tier == "" || tier == "default")
    if (!plain || says_more() || seen[value("model"), value("class")]++) { left_out++; next }
    tokens = value("per_tokens") == "" ? 1000000 : value("per_tokens")
    printf "      - {record: tokenweir:price_per_token, expr: vector(%s / %s), labels: {model: \"%s\", class: %s, currency: %s}}\n",
        value("price"), tokens, value("model"), value("class"), value("currency")
}
END { if (!failed) print "# " left_out + 0 " lines of the list are left out." }
