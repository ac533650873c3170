/* A fuzzer's target: the version comparison. A line feed parts three versions, which must be ordered as numbers are. */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "rboot-ota.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *texts[3];
    int i, count = 0;
    size_t start = 0, place;
    int one, two, three;
    for (place = 0; place <= size && count < 3; place++) {
        if (place == size || data[place] == '\n') {
            texts[count] = malloc(place - start + 1);
            memcpy(texts[count], data + start, place - start);
            texts[count++][place - start] = 0;
            start = place + 1;
        }
    }
    while (count < 3) {
        texts[count] = calloc(1, 1);
        count++;
    }
    one = rboot_compare_versions(texts[0], texts[1]);
    two = rboot_compare_versions(texts[1], texts[2]);
    three = rboot_compare_versions(texts[0], texts[2]);
    if (rboot_compare_versions(texts[1], texts[0]) != (one == RBOOT_UNKNOWN ? one : -one)) {
        abort();
    }
    if (one != RBOOT_UNKNOWN && two != RBOOT_UNKNOWN &&
        ((one == two && three != one) || (one == 0 && three != two) || (two == 0 && three != one))) {
        abort();
    }
    for (i = 0; i < 3; i++) {
        int same = rboot_compare_versions(texts[i], texts[i]);
        if (same != RBOOT_SAME && same != RBOOT_UNKNOWN) {
            abort();
        }
        if (same == RBOOT_SAME && strlen(texts[i]) >= RBOOT_VERSION_SIZE) {
            abort();
        }
        free(texts[i]);
    }
    return 0;
}
