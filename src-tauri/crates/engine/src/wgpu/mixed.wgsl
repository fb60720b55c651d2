// Blocks of matrices of several types on top of each other, by their rows.

fn block_at(at: u32) -> Block {
    var found: Block;
    let second = {SECOND_ROW}u * op.blocks;
    //# if THIRD_ROW
    let third = {THIRD_ROW}u * op.blocks;
    if at >= third {
        found = block_at_2(at - third);
        //# if HALVES
        //# if !THIRD_HALVES
        found.second = found.scale;
        //# end
        //# end
    } else
    //# end
    if at >= second {
        found = block_at_1(at - second);
        //# if HALVES
        //# if !SECOND_HALVES
        found.second = found.scale;
        //# end
        //# end
    } else {
        found = block_at_0(at);
        //# if HALVES
        //# if !FIRST_HALVES
        found.second = found.scale;
        //# end
        //# end
    }
    return found;
}
